"""The preproc job, `python -m shared.preproc.job [archive]`: makes products of the frozen batch or an archive."""

from __future__ import annotations

import logging
import os
import re
import sys
import time
import warnings
from array import array
from collections.abc import Iterator

from shared import config
from shared.config import StoreConfig
from shared.domain.records import utc_now
from shared.errors import DatastoreError
from shared.failpoints import failpoint
from shared.job_process import report
from shared.preproc import products
from shared.preproc.products import Manifest
from shared.preproc.progress import Progress
from shared.preproc.progress import write as write_progress
from shared.storage import frozen_batch
from shared.strain import joining
from shared.strain.constant_runs import between, constant_runs
from shared.strain.joining import ChannelStrain, ContiguousStrain
from shared.volume.layout import Layout
from shared.volume.made_files import File, describe
from shared.volume.posix import PosixFileSystem, storage_errors

log = logging.getLogger(__name__)

MAX_SPECTROGRAMS = 128  # spectrograms of one batch: bounds the run time of a fragmented batch


def make(settings: StoreConfig, archive: str = "") -> None:
    """Make the products of the frozen batch and put them in place; nothing is done if they are there already.

    Args:
        settings: of the store.
        archive: the archive whose products are to be made instead.

    Raises:
        NoSuchRoute: there is no such archive.
        NotFrozen: there is no frozen batch, or it was archived or opened meanwhile.
        Busy: another process makes them.
        Recovering, JournalDamaged, StorageFailed: the batch cannot be read or the products not be written.
    """
    layout = Layout(settings)
    place = products.archived(layout, archive) if archive else layout.products
    with products.making(layout):
        frozen = frozen_batch.read(layout, archive)
        if products.final_manifest(place, frozen.state.batch, frozen.state.segments) is None:
            write_progress(layout, Progress(frozen.state.batch, frozen.state.segments, utc_now()))
            folder = products.staging_folder(layout)
            with storage_errors("writing the products"):
                _fill(layout, frozen, folder, layout.archive(archive) if archive else layout.data)
            if archive:
                products.publish_archived(layout, archive, folder)
            else:
                products.publish(layout, frozen, folder)


def _fill(layout: Layout, frozen: frozen_batch.FrozenBatch, folder: str, data: str) -> None:
    from shared.preproc import spectrogram  # gwpy takes seconds to import: only where there is something to do

    found, unusable = joining.streams(frozen.segments)
    work = _SpectrogramBatch(layout, data, folder, _progress(frozen, found))
    streams = [_report(stream, _spectrograms(work, stream)) for stream in found]
    manifest = Manifest(
        batch=frozen.state.batch,
        n_itm=frozen.state.segments,
        buff_size=frozen.state.bytes,
        verdict=work.verdict,
        time=utc_now(),
        files=work.files,
        streams=streams,
        unusable=unusable,
        parameters={
            "frange": spectrogram.FRANGE,
            "logf": False,
            "shortest": spectrogram.MIN_DURATION,
            "longest": spectrogram.MAX_DURATION,
            "overlap": spectrogram.OVERLAP,
        },
        versions=spectrogram.versions(),
    )
    PosixFileSystem().pipe_file(os.path.join(folder, products.MANIFEST), products.encode(manifest))


def _progress(frozen: frozen_batch.FrozenBatch, found: list[ChannelStrain]) -> Progress:
    pieces = sum(1 for stream in found for stretch in stream.stretches for _ in _pieces(stream, stretch))
    return Progress(frozen.state.batch, frozen.state.segments, utc_now(), of=pieces)


def _pieces(stream: ChannelStrain, stretch: ContiguousStrain) -> Iterator[ContiguousStrain]:
    from shared.preproc import spectrogram

    return joining.split(stream, stretch, spectrogram.MAX_DURATION, spectrogram.OVERLAP)


def _spectrograms(work: _SpectrogramBatch, stream: ChannelStrain) -> list[list[dict[str, object]]]:
    try:
        return [work.do(stream, stretch) for stretch in stream.stretches]
    except (DatastoreError, OSError, MemoryError):  # not this channel's fault: worth another try
        raise
    except Exception as error:
        return [[work.fail(error)]]


class _SpectrogramBatch:
    """Makes spectrograms one by one, and keeps their verdicts."""

    def __init__(self, layout: Layout, data: str, folder: str, progress: Progress) -> None:
        self._layout = layout
        self._data = data
        self._folder = folder
        self._progress = progress
        write_progress(layout, progress)
        self._verdicts: set[str] = set()
        self.files: list[File] = []

    @property
    def verdict(self) -> str:
        """The batch's verdict: the best of its spectrograms'."""
        return next((v for v in ("done", "failed", "too short", "no signal") if v in self._verdicts), "empty")

    def do(self, stream: ChannelStrain, stretch: ContiguousStrain) -> list[dict[str, object]]:
        """Spectrograms of one stretch; what cannot be transformed is reported, and not tried again.

        Runs of equal samples are left out, because whitening would turn their ends into glitches.
        """
        reports = []
        for piece in _pieces(stream, stretch):
            reports += self._of_piece(stream, piece)
            self._progress.done += 1
            write_progress(self._layout, self._progress)
        return reports

    def _of_piece(self, stream: ChannelStrain, piece: ContiguousStrain) -> list[dict[str, object]]:
        if (refusal := self._refusal(stream, piece)) is not None:
            return [refusal]
        reports = []
        samples = joining.samples(self._data, piece)
        runs = constant_runs(samples, stream.rate)
        for first, n in runs:
            run: dict[str, object] = {"strain": stream.span(joining.part_of(stream, piece, first, n))}
            reports.append(self._report(run, "no signal", f"{n} equal samples"))
        for first, n in between(runs, len(samples)):
            part = joining.part_of(stream, piece, first, n)
            refusal = self._refusal(stream, part) if runs else None
            reports.append(refusal or self._one(stream, part, samples[first : first + n]))
        return reports

    def fail(self, error: Exception) -> dict[str, object]:
        """The verdict on a channel that raised an unforeseen error; the other channels go on."""
        log.error("no spectrogram", exc_info=error)
        return self._report({}, "failed", f"{type(error).__name__}: {error}")

    def _refusal(self, stream: ChannelStrain, piece: ContiguousStrain) -> dict[str, object] | None:
        """The verdict on strain that cannot be transformed."""
        from shared.preproc import spectrogram

        report: dict[str, object] = {"strain": stream.span(piece)}
        if piece.n / stream.rate < spectrogram.MIN_DURATION:
            return self._report(report, "too short", f"under {spectrogram.MIN_DURATION} s of contiguous strain")
        if stream.rate < spectrogram.MIN_SAMPLE_RATE:
            return self._report(report, "failed", f"sampled at under {spectrogram.MIN_SAMPLE_RATE} Hz")
        if len(self.files) >= 2 * MAX_SPECTROGRAMS:
            return self._report(report, "left out", f"the batch is in more than {MAX_SPECTROGRAMS} pieces")
        return None

    def _one(self, stream: ChannelStrain, piece: ContiguousStrain, samples: array[float]) -> dict[str, object]:
        from shared.preproc import spectrogram

        report: dict[str, object] = {"strain": stream.span(piece)}
        name = self._name(stream, piece)
        folder = os.path.join(self._folder, name)
        os.mkdir(folder)
        try:
            done = spectrogram.write(folder, samples, piece.t0, stream)
        except (OSError, MemoryError):  # not the strain's fault: worth another try
            raise
        except Exception as error:
            log.warning("%s: no spectrogram", name, exc_info=True)
            PosixFileSystem().rm(folder, recursive=True)
            return self._report(report, "failed", f"{type(error).__name__}: {error}")
        for file in ("spectrogram.hdf5", "spectrogram.png"):
            self.files.append(describe(self._folder, f"{name}/{file}"))
        failpoint("preproc.half")
        return self._report({**report, "folder": name, **done}, "done")

    def _report(self, report: dict[str, object], verdict: str, reason: str = "") -> dict[str, object]:
        self._verdicts.add(verdict)
        return {"verdict": verdict, **({"reason": reason} if reason else {}), **report}

    def _name(self, stream: ChannelStrain, piece: ContiguousStrain) -> str:
        """A folder's name in the manner of LIGO's frame files (T010150): what, GPS seconds, whole seconds covered."""
        begin, end = stream.span(piece)
        channel = stream.channel.removeprefix(f"{stream.detector}:")
        what = [re.sub(r"[^A-Za-z0-9]+", "_", text)[:64].strip("_") for text in (stream.detector, channel)]
        name = f"{'-'.join(filter(None, what)) or 'strain'}-{int(begin // 1)}-{int(-(-end // 1) - begin // 1)}"
        taken, number = name, 2
        while os.path.lexists(os.path.join(self._folder, taken)):
            taken, number = f"{name}-{number}", number + 1
        return taken


def _report(stream: ChannelStrain, made: list[list[dict[str, object]]]) -> dict[str, object]:
    return {
        "detector": stream.detector,
        "channel": stream.channel,
        "rate": stream.rate,
        "spans": [stream.span(stretch) for stretch in stream.stretches],
        "gaps": stream.gaps,
        **({"stated_rates": stream.stated_rates} if stream.stated_rates else {}),
        "overlapping_samples": stream.overlaps,
        "spectrograms": [report for of_stretch in made for report in of_stretch],
    }


def main() -> int:
    """Do the job once; the exit code is 0 when the products are in place."""
    os.nice(10)  # ingest comes first
    warnings.simplefilter("ignore")
    began = time.monotonic()
    try:
        make(config.store_from_env(), *sys.argv[1:2])
    except Exception as error:
        return report(error)
    log.info("products in place after %.1f s", time.monotonic() - began)
    return 0


if __name__ == "__main__":
    sys.exit(main())
