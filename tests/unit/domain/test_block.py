"""Blocks as text, and the choice of the format."""

from __future__ import annotations

import json
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain import block
from shared.domain.block import ARROW, LIST, NDJSON, format_of
from shared.domain.records import Record
from shared.domain.runs import Run, Runs, runs_of
from shared.errors import BadSegment
from tests.support.blocks import T0, arrow_block, ndjson_block, segments


def parse(body, format=NDJSON, channels=100, samples=1000):
    return block.parse(body, format, channels, samples)


@pytest.mark.parametrize(
    ("type", "body", "format"),
    [
        (None, b'{"h":[1],"t":[0,1]}', ""),
        ("application/json", b'{"h":[1],"t":[0,1]}', ""),
        ("text/plain", b'  {"h":[1],"t":[0,1]}', ""),
        (None, b"", ""),
        (None, b"[]", LIST),
        (None, b"\xff\xff\xff\xff\0\0\0\0", ARROW),
        ("application/json", b" \n[{}]", LIST),
        ("application/x-ndjson", b"{}", NDJSON),
        ("Application/X-NDJSON; charset=utf-8", b"{}", NDJSON),
        ("application/vnd.apache.arrow.stream", b"{}", ARROW),
        ("application/vnd.apache.arrow.stream", b"[", ARROW),
    ],
)
def test_the_format_is_declared_or_begins_like_a_list(type, body, format):
    assert format_of({} if type is None else {"content-type": type}, body) == format


def test_lines_and_a_list_hold_the_same():
    lines, items = ndjson_block(3, 10), json.dumps(segments(3, 10)).encode()
    expected = (Runs("V1", T0, 1 / 4096, 10, ("V1:CH_0", "V1:CH_1", "V1:CH_2")),)
    assert parse(lines) == (NDJSON, expected)
    assert parse(items, LIST) == (LIST, expected)
    assert parse(b"\n" + lines.replace(b"\n", b"\r\n\n")).holds == expected
    assert parse(lines[:-1]).holds == expected
    assert parse(lines).samples == 30


LINE = b'{"h":[1,2],"t":[5,0.5],"channel":"V1:x"}'


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "no segment"),
        (b"\n\n", "no segment"),
        (LINE + b"\n" + LINE[:-1], "segment 2"),
        (LINE + b'\n{"h":[1],"t":[0,1]}', "`channel` is missing"),
        (LINE + b"\n" + LINE, "stands twice"),
        (LINE + b"\n" + LINE.replace(b"1,2", b"1,NaN"), "segment 2"),
        (LINE + b"\n" + LINE.replace(b"0.5", b"-1"), "segment 2 of the block: `t[1]`"),
        (LINE + b"\n[]", "segment 2"),
        (LINE + b"\n\xff", "segment 2"),
        (b"\n".join(LINE.replace(b"x", b"x%d" % i) for i in range(101)), "more than 100"),
        (LINE.replace(b"1,2", b"1," * 1000 + b"1"), "at most 1000"),
    ],
)
def test_lines_that_cannot_be_stored_are_refused_with_the_reason(body, words):
    with pytest.raises(BadSegment) as error:
        parse(body)
    assert words in str(error.value)


def test_a_sample_that_json_does_not_have_is_explained_in_a_list_too():
    with pytest.raises(BadSegment, match="JSON has no NaN"):
        parse(b"[" + LINE.replace(b"2", b"NaN") + b"]", LIST)


@pytest.mark.parametrize("body", [b"[", b"[1]", b"[{}]", b'["a"]', b"[]", b"[" * 100_000, b"[{}] x", b"\xff[]"])
def test_lists_that_cannot_be_stored_are_refused(body):
    with pytest.raises(BadSegment):
        parse(body, LIST)


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(
        st.tuples(st.sampled_from(["V1:a", "V1:b", "Hrec"]), st.integers(0, 10**9)),
        st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=5),
        min_size=1,
    )
)
def test_every_run_of_a_text_reads_back_to_the_bit(sent):
    items = [{"h": h, "t": [t0, 2.0], "channel": name, "detector": "V1"} for (name, t0), h in sent.items()]
    for body in (b"\n".join(json.dumps(item).encode() for item in items), json.dumps(items).encode()):
        found = parse(body, LIST if body[:1] == b"[" else NDJSON)
        runs = [run for held in found.holds for run in runs_of(_record(holds=(held,)))]
        assert len(runs) == len(sent)
        for run in runs:
            values = block.values(body, *run[:3])
            assert list(map(_bits, values)) == list(map(_bits, sent[run.channel, run.t0]))


def _bits(value: float) -> bytes:
    return struct.pack("d", value)


def _record(**about) -> Record:
    return Record("info", 0, 1, "gwb1.json", "", "Write file", **about)


def test_a_run_that_a_payload_does_not_hold_is_refused():
    for body in (arrow_block(2, 10), ndjson_block(2, 10)):
        assert len(block.values(body, "V1", "V1:CH_1", T0)) == 10
        for detector, channel, t0 in (("V1", "V1:CH_2", T0), ("V1", "V1:CH_1", T0 + 1), ("H1", "V1:CH_1", T0)):
            with pytest.raises(BadSegment):
                block.values(body, detector, channel, t0)
    with pytest.raises(BadSegment):
        block.values(b'{"x":1}', "V1", "V1:CH_1", T0)


@pytest.mark.parametrize("before", [b"", b" ", b"\n", b"\r\n\t"])
def test_a_segment_in_several_lines_is_read_whatever_white_space_is_before_it(before):
    body = before + b'{\n "h": [1, 2],\n "t": [5, 0.5]\n}\n'
    assert format_of({}, body) == ""
    reader = block.Reader(body)
    for _ in range(3):  # from the second run on, text is looked through for others
        assert list(reader.samples("", "", 5.0)) == [1, 2]


def test_a_segment_is_one_run_and_one_without_times_none():
    about = {"detector": "V1", "channel": "V1:x", "t0": 1.0, "dt": 0.5, "samples": 3}
    assert list(runs_of(_record(**about))) == [Run("V1", "V1:x", 1.0, 0.5, 3)]
    assert list(runs_of(_record())) == []
