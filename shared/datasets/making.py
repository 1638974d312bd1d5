"""Making the files of a set from the strain of a batch, event by event: windows of some channels are in memory."""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from math import nan
from typing import Any, NamedTuple

from shared.catalog.catalog import Indexed
from shared.catalog.tracks import Track, seconds
from shared.datasets import layouts, selection
from shared.datasets.events import Event, choose
from shared.datasets.layouts import Channel, Cut, Untransformable
from shared.datasets.request import Request, Rule
from shared.datasets.sets import Manifest
from shared.datasets.windows import Folders, Window, cut, groups, whole_of, whole_of_each
from shared.errors import Gap, NoData
from shared.failpoints import failpoint
from shared.strain.constant_runs import constant_runs
from shared.volume.made_files import File, describe

Report = Callable[[str, int, int], None]
"""Takes a step's name, and how many of its parts are done of how many."""


class Source(NamedTuple):
    """The batch of a set: its index, the identity of its journal, and its counts."""

    batch: Indexed
    opened: int
    n_itm: int
    buff_size: int


def make(request: Request, source: Source, folder: str, max_samples: int, report: Report) -> Manifest:
    """Write the files of a set into an empty folder; return its manifest, which is not written.

    Raises:
        NoData, Ambiguous, BadRequest, SpanTooLong: as `selection.select` and `events.choose`.
        Gap: an event is incomplete, and the request wants none of these.
        NotFrozen, StorageFailed, SegmentDamaged: strain cannot be read.
        OSError: the files cannot be written.
    """
    tracks = selection.select(source.batch, request, max_samples)
    events, remarks = choose(request, source.batch, tracks, lambda done, total: report("peaks", done, total))
    # A thread, because neither checksums nor writing hold the interpreter's lock.
    with ThreadPoolExecutor(1) as checksums:
        work = _Making(request, tracks, folder, len(events), checksums)
        for number, event in enumerate(events):
            report("events", number, len(events))
            work.do(event)
            failpoint("dataset.half")
        files = work.close()
        report("checksums", 0, len(files))
        described = [file.result() for file in files]
    return Manifest(
        name=request.name,
        request=request,
        batch=source.batch.number,
        opened=source.opened,
        n_itm=source.n_itm,
        buff_size=source.buff_size,
        channels=[
            {
                "name": channel.name,
                "detector": track.key[0],
                "rate": track.key[2],
                "samples": channel.n,
                "spans": seconds(track.spans()),
                "overlapping_samples": track.overlaps,
            }
            for track, channel in zip(tracks, work.channels, strict=True)
        ],
        events=work.kept,
        left_out=work.left_out,
        remarks=remarks,
        files=described,
        versions=_versions(request),
    )


def _versions(request: Request) -> dict[str, str]:
    rule = request.events
    if request.layout != "spectrograms" and not (isinstance(rule, Rule) and (rule.peaks or rule.table)):
        return layouts.versions()
    from shared.datasets import qtransform

    return {**layouts.versions(), **qtransform.versions()}


class _Making:
    """Writes events, and keeps account of them.

    Attributes:
        kept, left_out: events as the manifest has them.
    """

    def __init__(
        self, request: Request, tracks: list[Track], folder: str, most: int, checksums: ThreadPoolExecutor
    ) -> None:
        self._request, self._tracks = request, tracks
        self._folders = Folders()
        self.channels = [
            Channel(selection.file_name(track), track.key[2], max(1, round(request.duration * track.rate)))
            for track in tracks
        ]
        self._writer = layouts.writer(folder, request, self.channels, most)
        self._folder, self._checksums = folder, checksums
        self._described: dict[str, Future[File]] = {}
        self.kept: list[dict[str, object]] = []
        self.left_out: list[dict[str, object]] = []

    def do(self, event: Event) -> None:
        """Write an event, or leave it out.

        Raises:
            Gap: it is incomplete, and the request wants none of these.
        """
        windows = [cut(track, event.gps, self._request, self._folders) for track in self._tracks]
        missing: dict[int, Any] = {
            number: seconds(window.missing) for number, window in enumerate(windows) if window.missing
        }
        target = self._target(windows[0], missing)
        while True:
            if (why := self._refusal(windows, missing)) is not None:
                self._leave_out(event, why, missing)
                return
            without = set(missing) if self._request.incomplete == "drop-channel" else set()
            try:
                file = self._writer.write(event.name, event.gps, self._cuts(windows, missing, without, target))
                break
            except Untransformable as error:
                missing[error.channel] = str(error)
        about: dict[str, object] = {"name": event.name, "gps": event.gps, "file": file, **event.details}
        if missing:
            about["without" if without else "missing"] = self._named(missing)
        self.kept.append(about)
        if self._request.layout == "annalisa":  # the file is whole
            self._describe(file)

    def close(self) -> list[Future[File]]:
        """Finish; return the descriptions of all files."""
        for name in self._writer.close():
            if name not in self._described:
                self._describe(name)
        return list(self._described.values())

    def _describe(self, name: str) -> None:
        self._described[name] = self._checksums.submit(describe, self._folder, name)

    def _target(self, window: Window, missing: dict[int, Any]) -> array[float] | None:
        """The target's samples. Where it does not change it is no strain, but padded; these samples become NaN."""
        if not self._request.target or window.missing:
            return None
        samples = whole_of(window.series)
        t0, rate = window.series.t0, window.series.rate
        runs = constant_runs(samples, float(rate))
        if runs:
            missing[0] = seconds((t0 + first / rate, t0 + (first + n) / rate) for first, n in runs)
        for first, n in runs:
            samples[first : first + n] = array("d", [nan]) * n
        return samples

    def _refusal(self, windows: list[Window], missing: dict[int, Any]) -> str | None:
        """The reason for which an event cannot be kept."""
        incomplete = self._request.incomplete
        if not missing:
            return None
        if incomplete in ("drop", "error"):
            return "incomplete"
        if incomplete == "drop-channel" and self._request.target and 0 in missing:
            return "the target is incomplete"
        nothing = (
            len(missing) == len(windows)
            if incomplete == "drop-channel"
            else not any(window.series.parts for window in windows)
        )
        return "no strain" if nothing else None

    def _leave_out(self, event: Event, why: str, missing: dict[int, Any]) -> None:
        named = self._named(missing)
        if self._request.incomplete == "error":
            error = Gap(f"the event at GPS {event.name} is incomplete in {', '.join(list(named)[:10])}")
            raise error
        about: dict[str, object] = {"name": event.name, "gps": event.gps, "reason": why, **event.details}
        self.left_out.append({**about, "missing": named})

    def _cuts(
        self, windows: list[Window], missing: dict[int, Any], without: set[int], target: array[float] | None
    ) -> Iterator[Cut]:
        # A spectrogram of a window that is not whole is not made: its row stays NaN.
        left_out = set(missing) if self._request.layout == "spectrograms" else without
        numbers = [number for number in range(len(windows)) if number not in left_out]
        if target is not None and numbers[:1] == [0]:
            yield Cut(0, float(windows[0].series.t0), target)
            numbers = numbers[1:]
        chosen = [windows[number].series for number in numbers]
        for group in groups(chosen):
            for one, samples in zip(group, whole_of_each([chosen[i] for i in group]), strict=True):
                yield Cut(numbers[one], float(chosen[one].t0), samples)

    def _named(self, missing: dict[int, Any]) -> dict[str, object]:
        return {self.channels[number].name: what for number, what in sorted(missing.items())}


def require_events(manifest: Manifest) -> None:
    """Raise NoData if no event is left: an empty set trains nothing, and the reasons would be overlooked."""
    if not manifest.events:
        first = manifest.left_out[0] if manifest.left_out else None
        why = f"; the first, GPS {first['name']}, because: {first['reason']}" if first else ""
        raise NoData(f"no event is left of {len(manifest.left_out)}{why}")


def remove_leftovers(folder: str) -> None:
    """Remove what a crash has left in the folder of work; requests stay."""
    import shutil

    for name in os.listdir(folder):
        if name.startswith(("making-", "removed-", "replaced-")):
            shutil.rmtree(os.path.join(folder, name), ignore_errors=True)
