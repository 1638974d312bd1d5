"""Pieces of strain: their order, what of them is read at once, and what a damaged file costs."""

from __future__ import annotations

import json
import os
import zlib

from shared.domain.segment import StoredSegment
from shared.errors import SegmentDamaged
from shared.preproc import pieces, transforms
from shared.preproc.transforms import Task
from shared.strain import joining

T0, RATE = 1000.0, 256


def batch(folder, channels=3, seconds=130):
    """A batch of segments of 10 s, whose samples are the channel's number; the segments, in order of arrival."""
    found = []
    for second in range(0, seconds, 10):
        for channel in range(channels):
            name = f"{second:03}-{channel}"
            content = json.dumps({"h": [float(channel)] * (10 * RATE), "t": [T0 + second, 1 / RATE]}).encode()
            (folder / name).write_bytes(content)
            where = StoredSegment(name, "V1", f"V1:C{channel}", T0 + second, 1 / RATE, 10 * RATE, zlib.crc32(content))
            found.append(where)
    return found


def test_each_channel_has_its_first_piece_before_any_has_its_second(tmp_path):
    streams, _ = joining.streams(batch(tmp_path))
    found = pieces.pieces(streams)
    assert [piece[:2] for piece in found] == [(stream, number) for number in range(3) for stream in range(3)]
    assert [piece.strain.t0 for piece in found[::3]] == [1000.0, 1042.66796875, 1085.3359375]


def test_groups_are_bounded_and_a_damaged_file_costs_its_own_piece_alone(tmp_path, monkeypatch):
    streams, _ = joining.streams(batch(tmp_path))
    found = pieces.pieces(streams)
    monkeypatch.setattr(pieces, "_GROUP", 8 * 2 * found[0].strain.n)
    sizes = []

    def samples_of_each(folder, stretches, each=joining.samples_of_each):
        sizes.append(len(stretches))
        return each(folder, stretches)

    monkeypatch.setattr(joining, "samples_of_each", samples_of_each)
    for piece, samples in pieces.read(os.fspath(tmp_path), found):
        assert not isinstance(samples, SegmentDamaged)
        assert set(samples) == {float(piece.stream)}
        assert len(samples) == piece.strain.n
    assert max(sizes) <= 3  # the last pieces are a little shorter
    assert sum(sizes) == 9

    (tmp_path / "040-1").write_bytes(b"{}")
    damaged = {piece[:2] for piece, got in pieces.read(os.fspath(tmp_path), found) if isinstance(got, SegmentDamaged)}
    assert damaged == {(1, 0), (1, 1)}  # they overlap there


def test_what_cannot_be_transformed_is_reported_part_by_part(tmp_path):
    """Noise of 0.4 s between runs of equal samples: neither needs gwpy."""
    (tmp_path / "x").write_text(json.dumps({"h": [0.0, 1.0] * 50 + [2.0] * 100 + [0.0, 1.0] * 28, "t": [0, 1 / RATE]}))
    (stream,), _ = joining.streams([StoredSegment("x", "V1", "V1:A", T0, 1 / RATE, 256)])
    (piece,) = pieces.pieces([stream])
    ((_, samples),) = pieces.read(os.fspath(tmp_path), [piece])
    assert not isinstance(samples, SegmentDamaged)
    made = transforms.transform(Task(os.fspath(tmp_path / "y"), stream, piece.strain, samples, thumbnail=True))
    assert [(one.verdict, one.span[0] - T0) for one in made] == [
        ("no signal", 100 / RATE), ("too short", 0.0), ("too short", 200 / RATE),
    ]  # fmt: skip
    assert made[1].report["reason"] == "under 0.5 s of contiguous strain"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x"]


def test_refusals_name_the_limit():
    assert pieces.refusal(0.49, 4096.0) == ("too short", "under 0.5 s of contiguous strain")
    assert pieces.refusal(10.0, 127.0) == ("failed", "sampled at under 128.0 Hz")
    assert pieces.refusal(0.5, 128.0) is None


def test_there_is_a_process_for_each_core_at_most():
    cores = len(os.sched_getaffinity(0))
    assert transforms.processes(2, 240) == min(2, cores)
    assert transforms.processes(2, 1) == transforms.processes(2, 0) == 1
    assert transforms.processes(cores + 5, 10_000) == cores
