"""The preproc job, `python -m shared.preproc.job [archive]`: makes products of the frozen batch or an archive."""

from __future__ import annotations

import logging
import os
import re
import sys
import time
import warnings
from collections import deque
from collections.abc import Iterator

from shared import config
from shared.archives.batch_files import Where
from shared.archives.reading import RemoteReader
from shared.config import StoreConfig
from shared.decoding import convert
from shared.domain.records import utc_now
from shared.errors import SegmentDamaged
from shared.failpoints import failpoint
from shared.job_process import WAIT, arguments, begin, report
from shared.preproc import pieces, products, summary
from shared.preproc.pieces import Piece
from shared.preproc.products import Manifest
from shared.preproc.progress import Progress
from shared.preproc.progress import write as write_progress
from shared.preproc.transforms import Made, Task, processes, science, transform_all, versions
from shared.storage import frozen_batch
from shared.storage.frozen_batch import FrozenBatch
from shared.strain import joining
from shared.strain.joining import ChannelStrain
from shared.volume.layout import Layout
from shared.volume.made_files import File, describe
from shared.volume.posix import PosixFileSystem, storage_errors

log = logging.getLogger(__name__)

MAX_PIECES = 1024  # pieces of one batch that are transformed: bounds the disk space of a fragmented batch
_PART_OF_TIMEOUT = 0.8  # of PREPROC_TIMEOUT, after which no piece is begun


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
                data = layout.archive(archive) if archive else layout.data
                _fill(layout, settings, frozen, folder, Where(data, RemoteReader(settings)))
            if archive:
                products.publish_archived(layout, archive, folder)
            else:
                products.publish(layout, frozen, folder)


def _fill(layout: Layout, settings: StoreConfig, frozen: FrozenBatch, folder: str, data: Where) -> None:
    found, unusable = joining.streams(frozen.segments)
    work = _BatchJob(layout, folder, found, Progress(frozen.state.batch, frozen.state.segments, utc_now()))
    work.do(data, settings.preproc_processes, time.monotonic() + _PART_OF_TIMEOUT * settings.preproc_timeout)
    work.summarize(frozen.state.batch)
    manifest = Manifest(
        batch=frozen.state.batch,
        n_itm=frozen.state.segments,
        buff_size=frozen.state.bytes,
        verdict=work.verdict,
        time=utc_now(),
        files=work.files,
        streams=work.streams,
        unusable=unusable,
        parameters={
            "frange": pieces.FRANGE,
            "logf": False,
            "shortest": pieces.MIN_DURATION,
            "longest": pieces.MAX_DURATION,
            "overlap": pieces.OVERLAP,
        },
        versions=versions(),
    )
    PosixFileSystem().pipe_file(os.path.join(folder, products.MANIFEST), products.encode(manifest))


class _BatchJob:
    """Has the pieces of a batch transformed, and keeps account of them.

    Attributes:
        files: of the products, in order of streams and times.
        streams: the reports, as the manifest has them.
    """

    def __init__(self, layout: Layout, folder: str, streams: list[ChannelStrain], progress: Progress) -> None:
        self._layout, self._folder, self._progress = layout, folder, progress
        self._streams = streams
        self._pieces = pieces.pieces(streams)
        self._made: dict[tuple[int, int], list[Made]] = {}  # by stream and number of the piece
        self._names: set[str] = set()
        self.files: list[File] = []
        self.streams: list[dict[str, object]] = []
        progress.of = len(self._pieces)
        write_progress(layout, progress)

    @property
    def verdict(self) -> str:
        """The batch's verdict: the best of its pieces'."""
        verdicts = {made.verdict for several in self._made.values() for made in several}
        return next((v for v in ("done", "failed", "too short", "no signal") if v in verdicts), "empty")

    def do(self, data: Where, most: int, deadline: float) -> None:
        """Transform all pieces.

        Args:
            data: the folder of the batch's files.
            most: processes.
            deadline: the time of the monotonic clock from which on pieces are left out.

        Raises:
            NotFrozen, StorageFailed: strain cannot be read.
            OSError, MemoryError, Busy: worth another try.
        """
        wanted: list[Piece] = []
        for piece in self._pieces:
            stream = self._streams[piece.stream]
            refused = pieces.refusal(piece.strain.n / stream.rate, stream.rate)
            if refused is None and len(wanted) >= MAX_PIECES:
                refused = "left out", f"the batch has more than {MAX_PIECES} pieces"
            if refused is None:
                wanted.append(piece)
            else:
                self._refuse(piece, *refused)
        sent: deque[Piece] = deque()
        tasks = self._tasks(data, wanted, sent, deadline)
        for made in transform_all(tasks, processes(most, len(wanted))):
            self._keep(sent.popleft(), made)
        for number, stream in enumerate(self._streams):
            made = [one for key in sorted(self._made) if key[0] == number for one in self._made[key]]
            self.streams.append(_report(stream, made))
            self.files += [file for one in made for file in one.files]

    def _tasks(self, data: Where, wanted: list[Piece], sent: deque[Piece], deadline: float) -> Iterator[Task]:
        for piece, samples in pieces.read(data, self._in_time(wanted, deadline)):
            if isinstance(samples, SegmentDamaged):
                self._refuse(piece, "failed", str(samples))
                continue
            sent.append(piece)
            stream = self._streams[piece.stream]
            folder = os.path.join(self._folder, f".{piece.stream}-{piece.number}")
            bare = ChannelStrain(stream.detector, stream.channel, stream.rate)
            yield Task(folder, bare, piece.strain, samples, thumbnail=len(self._pieces) > 1)

    def _in_time(self, wanted: list[Piece], deadline: float) -> Iterator[Piece]:
        for piece in wanted:
            if time.monotonic() < deadline:
                yield piece
            else:
                self._refuse(piece, "left out", "PREPROC_TIMEOUT has nearly passed")

    def _refuse(self, piece: Piece, verdict: str, reason: str) -> None:
        span = self._streams[piece.stream].span(piece.strain)
        self._made[piece.stream, piece.number] = [Made(verdict, span, reason)]
        self._advance()

    def _keep(self, piece: Piece, several: list[Made]) -> None:
        """Give the spectrograms of a piece their names."""
        kept = self._made[piece.stream, piece.number] = []
        for made in several:
            if not made.folder:
                kept.append(made)
                continue
            name = self._name(self._streams[piece.stream], *made.span)
            os.rename(made.folder, os.path.join(self._folder, name))
            files = tuple(File(f"{name}/{file.name}", file.size, file.sha256) for file in made.files)
            kept.append(made._replace(folder=name, files=files))
            failpoint("preproc.half")
        self._advance()

    def _advance(self) -> None:
        self._progress.done += 1
        write_progress(self._layout, self._progress)

    def _name(self, stream: ChannelStrain, begin: float, end: float) -> str:
        """A folder's name in the manner of LIGO's frame files (T010150): what, GPS seconds, whole seconds covered."""
        channel = stream.channel.removeprefix(f"{stream.detector}:")
        what = [re.sub(r"[^A-Za-z0-9]+", "_", text)[:64].strip("_") for text in (stream.detector, channel)]
        name = f"{'-'.join(filter(None, what)) or 'strain'}-{int(begin // 1)}-{int(-(-end // 1) - begin // 1)}"
        taken, number = name, 2
        while taken in self._names:
            taken, number = f"{name}-{number}", number + 1
        self._names.add(taken)
        return taken

    def summarize(self, batch: int) -> None:
        """Make the overview and the summary, if there are several pieces and any spectrogram."""
        spans = [self._streams[piece.stream].span(piece.strain) for piece in self._pieces]
        if len(self._pieces) < 2 or self.verdict != "done":
            return
        from shared.preproc.overview import Overview  # where matplotlib has been imported

        names = [stream.channel or stream.detector or "strain" for stream in self._streams]
        overview = Overview(names, min(begin for begin, _ in spans), max(end for _, end in spans))
        rows: list[summary.Row] = []
        for piece in sorted(self._pieces):
            stream = self._streams[piece.stream]
            for made in self._made[piece.stream, piece.number]:
                if made.maxima is not None:
                    overview.add(piece.stream, *made.maxima)
                rows.append(self._row(names[piece.stream], stream.rate, made))
        overview.save(os.path.join(self._folder, products.OVERVIEW))
        content = summary.html(batch, rows, self._read(products.OVERVIEW)).encode()
        PosixFileSystem().pipe_file(os.path.join(self._folder, products.SUMMARY), content)
        self.files += [describe(self._folder, name) for name in (products.OVERVIEW, products.SUMMARY)]

    def _read(self, name: str) -> bytes:
        with open(os.path.join(self._folder, name), "rb") as file:
            return file.read()

    def _row(self, channel: str, rate: float, made: Made) -> summary.Row:
        if not made.folder:
            return summary.Row(channel, rate, made.span, made.verdict, made.reason)
        about = convert(made.report, products.Report)
        thumbnail, picture = self._read(f"{made.folder}/{products.THUMBNAIL}"), f"{made.folder}/{products.PICTURE}"
        return summary.Row(channel, rate, about.span or made.span, "done", "", about.loudest, picture, thumbnail)


def _report(stream: ChannelStrain, made: list[Made]) -> dict[str, object]:
    return {
        "detector": stream.detector,
        "channel": stream.channel,
        "rate": stream.rate,
        "spans": [stream.span(stretch) for stretch in stream.stretches],
        "gaps": stream.gaps,
        **({"stated_rates": stream.stated_rates} if stream.stated_rates else {}),
        "overlapping_samples": stream.overlaps,
        "spectrograms": [one.report for one in made],
    }


def main() -> int:
    """Do the job once; the exit code is 0 when the products are in place."""
    os.nice(10)  # ingest comes first
    begin("preproc")
    warnings.simplefilter("ignore")
    if sys.argv[1:] == [WAIT]:
        science()
    if (given := arguments()) is None:
        return 0
    began = time.monotonic()
    try:
        make(config.store_from_env(), *given[:1])
    except Exception as error:
        return report(error)
    log.info("products in place after %.1f s", time.monotonic() - began)
    return 0


if __name__ == "__main__":
    sys.exit(main())
