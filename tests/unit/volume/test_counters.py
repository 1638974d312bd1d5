"""The tally is never taken for something it does not say, and readers trust it only about its own batch."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from shared.config import store_from_env
from shared.errors import Recovering
from shared.ingest.spool_writer import SpoolWriter
from shared.storage.reader import BatchReader
from shared.storage.writer import Writer
from shared.volume import counters
from shared.volume.counters import Counters
from shared.volume.layout import Layout
from shared.volume.posix import PosixFileSystem
from tests.support.builders import commit_requests, segment


def test_what_is_half_written_is_not_read(tmp_path):
    path = tmp_path / "tally"
    with pytest.raises(Recovering):
        counters.read(str(path))
    counters.write(str(path), Counters(1, 255, 1000))
    old = path.read_bytes()
    counters.write(str(path), Counters(1, 256, 2000))
    new = path.read_bytes()
    assert counters.read(str(path)) == (1, 256, 2000)
    for cut in range(9, 25):
        path.write_bytes(new[:cut] + old[cut:])
        with pytest.raises(Recovering):
            counters.read(str(path))
    for content in (b"", new[:-1], new + b"x", b"\0" * 28):
        path.write_bytes(content)
        with pytest.raises(Recovering):
            counters.read(str(path))


def test_a_reader_waits_out_a_write_in_two_halves(tmp_path):
    path = str(tmp_path / "tally")
    counters.write(path, Counters(3, 0, 0))
    halt = threading.Event()

    def write_in_halves():
        number, fs = 0, PosixFileSystem()
        whole = tmp_path / "whole"
        while not halt.is_set():
            number += 1
            counters.write(str(whole), Counters(3, number, number * 7))
            content = whole.read_bytes()
            fs.overwrite(path, content[:12])
            fs.overwrite(path, content)

    thread = threading.Thread(target=write_in_halves)
    thread.start()
    try:
        last = 0
        for _ in range(3000):
            found = counters.read(path)
            assert found.bytes == found.segments * 7
            assert found.segments >= last
            last = found.segments
    finally:
        halt.set()
        thread.join()
    assert last > 0


def test_i2_the_count_of_one_batch_is_never_applied_to_the_next(tmp_path):
    """Between a cleanall and the next acknowledgement a reader may meet the new journal beside the old tally."""
    config = store_from_env({"ROOT": str(tmp_path / "store")})
    writer, spool, reader = Writer(config), SpoolWriter.from_config(config), BatchReader(config)
    writer.open()

    def store(count):
        writer.commit(commit_requests(spool, [segment(n) for n in range(1, count + 1)]))

    store(5)
    old = Path(Layout(config).counters).read_bytes()
    writer.archive_batch()
    store(2)
    assert len(list(reader.names())) == 2
    Path(Layout(config).counters).write_bytes(old)  # which says five
    assert list(reader.names()) == []
    writer.close()
    writer.open()  # puts it right
    assert len(list(reader.names())) == 2
    writer.close()
    spool.close()
