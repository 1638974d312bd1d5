"""Running the archiver's jobs: copies one archive after another, frees the volume beside that, and takes requests."""

from __future__ import annotations

import logging
import threading
import time

from shared import metrics
from shared.archiver import freeing
from shared.archiver.held import Held, find, held, low_water, space
from shared.archiver.job import COPY, FREE
from shared.archiver.requests import Requests, Wanted
from shared.archives.place import Place
from shared.config import Keep
from shared.domain.messages import ErrorBody
from shared.errors import Busy, DatastoreError, NoSuchRoute, RemoteFailed
from shared.job_process import JobProcess
from shared.storage.batches import Batches
from shared.storage.reader import BatchReader
from shared.trace_context import outgoing, within
from shared.volume.layout import Layout

log = logging.getLogger(__name__)

_TIMEOUT = 86400.0  # seconds of one archive
_LOOK = 1.0  # seconds between two looks at the free space
_PAUSE, _LONGEST = 2.0, 60.0  # seconds after a failure, doubling


class ArchiveRunner:
    """Has archives copied and the volume freed. Safe to use from several threads. Without ARCHIVE_URL it does nothing.

    Args:
        reader: of the store.

    Attributes:
        configured: whether ARCHIVE_URL is set.
    """

    def __init__(self, reader: BatchReader) -> None:
        self.config = reader.config
        self.layout = Layout(reader.config)
        self.requests = Requests(self.layout)
        self.configured = bool(reader.config.archive_url)
        self._reader = reader
        self._batches = Batches(self.layout)  # of its own, because others wait for its lock
        self._keep = Keep.parse(reader.config.archive_keep)
        self._copying = JobProcess("shared.archiver.job", _TIMEOUT)
        self._freeing = JobProcess("shared.archiver.job", _TIMEOUT)
        self._starting = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._wake = threading.Event()
        self._oldest = 0.0  # seconds since 1970; 0 where nothing waits

    # -- requests -------------------------------------------------------------------------------------------------

    def submit(self, name: str, what: str) -> None:
        """Accept a request to `verify` the copy of an archive, or to `restore` it, durably.

        Raises:
            NoSuchRoute: there is no such archive, or nothing is copied here.
            RemoteFailed: the archive has not been copied yet.
            StorageFailed: the request cannot be taken.
        """
        if not self.configured:
            raise NoSuchRoute("ARCHIVE_URL is not set here, so there are no copies")
        archive = self._find(name)
        if archive.stub is None:
            raise RemoteFailed(f"{name!r} has not been copied yet")
        self.requests.add(Wanted(name, archive.prefix, what, **outgoing()))
        log.info("%s of %r is to be done", what, name)
        self.wake()

    def listing(self) -> dict[str, object]:
        """All archives, oldest first, and the backlog."""
        rows, waiting, size = [], 0, 0
        for archive in held(self.layout, self._batches):
            row = self._row(archive)
            rows.append(row)
            if not archive.safe:
                waiting, size = waiting + 1, size + archive.bytes(self.layout)
        return {"configured": self.configured, "waiting": {"archives": waiting, "bytes": size}, "archives": rows}

    def document(self, name: str) -> dict[str, object]:
        """One archive: its row, its objects, and the work under way.

        Raises:
            NoSuchRoute: there is no such archive.
        """
        archive = self._find(name)
        document = self._row(archive)
        if (stub := archive.stub) is not None:
            document["objects"] = stub.objects
            document["manifest"] = stub.manifest
        progress = self.requests.progress()
        wanted = next((one for one in self.requests.all() if one.prefix == archive.prefix), None)
        if progress is not None and progress.name == name:
            document["work"] = {"step": progress.step, "done": progress.done, "of": progress.of}
        if wanted is not None:
            document["wanted"] = {"what": wanted.what, "error": wanted.error} if wanted.error else {"what": wanted.what}
        return document

    def content(self, name: str, object_name: str) -> tuple[Place, str, int, str]:
        """An object of a copy: the place, the path there, its size and its SHA-256.

        Raises:
            NoSuchRoute: there is none.
            RemoteFailed: the place cannot be used.
        """
        archive = self._find(name)
        stub = archive.stub
        for one in [*stub.objects, stub.manifest] if stub else []:
            if one.name == object_name:
                return self._reader.remote.place, f"{archive.prefix}/{one.name}", one.size, one.sha256
        raise NoSuchRoute(f"the copy of {name!r} has no object {object_name!r}; GET /remote/<name> lists them")

    def _find(self, name: str) -> Held:
        try:
            return find(self.layout, self._batches, name)
        except DatastoreError as error:
            raise NoSuchRoute(str(error)) from None

    def _row(self, archive: Held) -> dict[str, object]:
        stub = archive.stub
        state = "waiting"
        if stub is not None:
            state = "lost" if stub.lost else "elsewhere" if stub.freed else "safe" if archive.safe else "waiting"
        row: dict[str, object] = {
            "name": archive.name, "batch": archive.archived.batch, "prefix": archive.prefix, "state": state,
            "bytes": archive.bytes(self.layout), "here": archive.here, "url": f"/remote/{archive.name}",
        }  # fmt: skip
        if stub is not None:
            row |= {"copied": stub.verified, "missing": len(stub.missing)}
            row |= {"lost": stub.lost} if stub.lost else {}
        return row

    # -- life -----------------------------------------------------------------------------------------------------

    def wake(self) -> None:
        """Begin with what is to be done. Does not block; a task of `Maintenance`."""
        if not self.configured:
            return
        with self._starting:
            if not self._threads:
                metrics.REMOTE_OLDEST.set_function(lambda: time.time() - self._oldest if self._oldest else 0.0)
                for target in (self._copy, self._free):
                    self._threads.append(threading.Thread(target=target, name=target.__name__, daemon=True))
                    self._threads[-1].start()
        self._wake.set()

    def stop(self) -> None:
        """End the work under way; it goes on when the store has started again."""
        self._copying.stop()
        self._freeing.stop()

    # -- on the thread that copies --------------------------------------------------------------------------------

    def _copy(self) -> None:
        pause = _PAUSE
        while not self._copying.stopping:
            self._wake.clear()
            failed = False
            try:
                self._serve_requests()
                for archive in held(self.layout, self._batches):
                    if not archive.safe and not self._copying.stopping:
                        failed = not self._run(COPY, archive.name) or failed
                        self._serve_requests()
                self._measure()
            except DatastoreError as error:
                log.error("the archiver: %s", error)
                failed = True
            except Exception:
                log.exception("the archiver failed")
                failed = True
            pause = min(2 * pause, _LONGEST) if failed else _PAUSE
            if failed:
                time.sleep(min(pause, 1.0))  # also when a request has come meanwhile
            self._wake.wait(pause if failed else self.config.housekeeping)

    def _serve_requests(self) -> None:
        for wanted in self.requests.waiting():
            with within(wanted.trace):
                self._serve(wanted)
            if self._copying.stopping:
                return

    def _serve(self, wanted: Wanted) -> None:
        try:
            failure = self._copying.run(wanted.what, wanted.name)
        except DatastoreError as error:
            failure = ErrorBody(error.code, str(error))
        if self._copying.stopping:
            return
        if failure is None:
            self.requests.done(wanted)
        elif failure.code == Busy.code:  # the volume is being freed, or the job was killed
            log.warning("%s %r waits: %s", wanted.what, wanted.name, failure.body)
            time.sleep(_LOOK)
            self._wake.set()
        else:
            metrics.REMOTE_FAILURES.inc()
            log.error("%s %r: %s", wanted.what, wanted.name, failure.body)
            self.requests.fail(wanted, failure.body)

    def _run(self, what: str, name: str) -> bool:
        try:
            failure = self._copying.run(what, name)
        except DatastoreError as error:
            failure = ErrorBody(error.code, str(error))
        if failure is None or self._copying.stopping:
            return True
        metrics.REMOTE_FAILURES.inc()
        log.error("%s %r: %s", what, name, failure.body)
        return False

    # -- on the thread that frees ---------------------------------------------------------------------------------

    def _free(self) -> None:
        next_look = 0.0
        while not self._freeing.stopping:
            time.sleep(_LOOK)
            try:
                now = time.monotonic()
                free, total = space(self.layout)
                low = free < max(self._keep.free or 0, low_water(total))
                if now < next_look and not low:
                    continue
                self._measure()
                next_look = now + self.config.housekeeping
                if next(freeing.due(self.layout, self._batches, self._keep), None) is None:
                    time.sleep(_LOOK if low else 0.0)  # nothing is to be gained: clients get 507
                elif (failure := self._freeing.run(FREE)) is not None:
                    metrics.REMOTE_FAILURES.inc()
                    log.error("freeing: %s", failure.body)
                    time.sleep(_PAUSE)
            except DatastoreError as error:
                if self._freeing.stopping:  # which has ended the job
                    return
                log.error("freeing: %s", error)
                time.sleep(_PAUSE)
            except Exception:
                log.exception("freeing failed")
                time.sleep(_PAUSE)

    def _measure(self) -> None:
        waiting = size = elsewhere = lost = 0
        oldest = 0.0
        for archive in held(self.layout, self._batches):
            stub = archive.stub
            if stub is not None and stub.lost and stub.freeing:
                lost += 1
            elif not archive.safe:
                waiting, size = waiting + 1, size + archive.bytes(self.layout)
                oldest = min(oldest or archive.closed / 1e9, archive.closed / 1e9)
            elsewhere += stub is not None and bool(stub.freed)
        self._oldest = oldest
        metrics.REMOTE_WAITING.set(waiting)
        metrics.REMOTE_WAITING_BYTES.set(size)
        metrics.REMOTE_ELSEWHERE.set(elsewhere)
        metrics.REMOTE_LOST.set(lost)
