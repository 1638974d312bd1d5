"""Archives that live elsewhere, under faults: killed archivers, a killed, refusing and slow S3 server, full volumes."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.archiver.upload import newest_manifest
from shared.config import StoreConfig
from shared.errors import RemoteFailed, SegmentDamaged
from shared.failpoints import NAMES
from tests.contract.test_remote_archives import Archiving
from tests.support import ROOT, s3
from tests.support.archives import Copied, check_copy, environment, samples, segments, served
from tests.support.bench import Bench
from tests.support.builders import segment
from tests.support.checks import wait_for
from tests.support.load import post_all

FAILPOINTS = sorted(name for name in NAMES if name.startswith("archive."))
STEPS = {"free": ("archive.freeing", "archive.half", "archive.freed"), "restore": ("archive.restored",)}
ALTERED = "not what was put there|[Cc]hecksum"  # the second where botocore is first to see it
MANY, LONG = 500, 2000  # segments of a batch, samples of each: 40 kB


def job(config: StoreConfig, what: str, name: str = "", **env: str) -> subprocess.Popen:
    """The archiver's job as a process."""
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "ARCHIVE_OPTIONS": config.archive_options,
               **environment(config), **env}  # fmt: skip
    command = [sys.executable, "-W", "ignore", "-m", "shared.archiver.job", what, name]
    return subprocess.Popen(command, env=environ, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def run(config: StoreConfig, what: str, name: str = "", **env: str) -> tuple[int, str]:
    process = job(config, what, name, **env)
    output, _ = process.communicate(timeout=60)
    return process.returncode, output.decode()


def bench_of(folder: Path, **env: str) -> Iterator[Bench]:
    bench = Bench(folder / "store", **{"ARCHIVE_PIECE": "3000", **env})
    bench.store(*range(100, 112))
    bench.writer.archive_batch()
    bench.store(200)
    yield bench
    bench.close()


@pytest.fixture
def bench(tmp_path):
    """A store without servers with one archive, whose copies go to a folder."""
    yield from bench_of(tmp_path, ARCHIVE_URL=f"file://{tmp_path}/remote")


@pytest.fixture
def server(tmp_path):
    with s3.running(tmp_path) as (server, proxy):
        yield server, proxy


@pytest.fixture
def on_s3(tmp_path, server):
    """The same, on an S3 server behind a proxy."""
    yield from bench_of(tmp_path, **s3.environment(server[1].port))


@pytest.mark.parametrize("name", FAILPOINTS)
def test_killed_at_every_failpoint(name, bench):
    config, copied = bench.config, Copied(bench.config)
    archive = copied.held().name
    before, values = segments(copied.held().folder), samples(bench, 0, 1000)
    dies = next((step for step, names in STEPS.items() if name in names), "copy")
    for step in ("copy", "free", "restore", "free"):
        if step == dies:
            dies = ""
            of = "" if step == "free" else archive
            code, output = run(config, step, of, ARCHIVE_KEEP="0", FAILPOINTS=f"{name}=kill")
            assert code == -signal.SIGKILL, output
            # Nothing is lost, and a copy is whole or is none.
            assert served(config) == before
            assert samples(bench, 0, 1000) == values
            stub = copied.held().stub
            if newest_manifest(copied.place, copied.held().prefix) is not None:
                check_copy(Path(config.archive_url.removeprefix("file://")) / copied.held().prefix)
            else:
                assert stub is None
            if stub is None:
                assert segments(copied.held().folder) == before
        {"copy": copied.copy, "free": copied.free, "restore": copied.restore}[step]()
        assert served(config) == before
    assert copied.stub().freed
    assert segments(copied.held().folder) == {}
    copied.verify()
    assert samples(bench, 0, 1000) == values


def test_an_s3_server_killed_in_the_middle_of_uploads(on_s3, server):
    gateway, proxy = server
    copied = Copied(on_s3.config)
    before, name = segments(copied.held().folder), copied.held().name
    puts = 0

    def kill_at_times() -> None:
        nonlocal puts
        puts += 1
        if puts == 4:
            gateway.kill()

    proxy.on_put = kill_at_times
    code, output = run(on_s3.config, "copy", name)
    assert code == 1
    assert '"code":"ERRREMOTE"' in output
    assert s3.SECRET not in output
    assert copied.held().stub is None
    assert segments(copied.held().folder) == before
    gateway.start()
    assert newest_manifest(copied.place, copied.held().prefix) is None
    proxy.seen.clear()
    code, output = run(on_s3.config, "copy", name)
    assert code == 0, output
    assert not [path for method, path, _ in proxy.seen if method == "PUT" and "segments-00000" in path], "it began anew"
    check_copy(gateway.data / "archive" / copied.held().prefix)
    assert copied.free() == len(before)
    assert served(on_s3.config) == before


def test_an_s3_server_that_refuses_and_is_slow(on_s3, server):
    _, proxy = server
    copied = Copied(on_s3.config)
    before = segments(copied.held().folder)
    proxy.refuse, proxy.delay = 2, 0.02  # s3fs asks again
    copied.copy()
    proxy.refuse = 1 << 30
    with pytest.raises(RemoteFailed, match=r"SlowDown|503|Please"):
        copied.free()
    assert segments(copied.held().folder) == before
    assert copied.held().safe, "503 does not mean that a copy is gone"
    proxy.refuse = 0
    assert copied.free() == len(before)
    assert copied.restore() == len(before)
    assert segments(copied.held().folder) == before
    assert copied.free() == len(before)
    proxy.refuse = 1
    assert served(on_s3.config) == before


def test_bytes_that_come_back_otherwise_are_no_copy(on_s3, server):
    _, proxy = server
    copied = Copied(on_s3.config)
    before = segments(copied.held().folder)
    proxy.corrupt = True
    with pytest.raises(RemoteFailed, match=ALTERED):
        copied.copy()
    assert copied.held().stub is None
    proxy.corrupt = False
    copied.copy()
    proxy.corrupt = True
    with pytest.raises(RemoteFailed, match=ALTERED):
        copied.free()
    assert segments(copied.held().folder) == before
    proxy.corrupt = False
    copied.copy()
    copied.free()
    proxy.corrupt = True
    with pytest.raises((RemoteFailed, SegmentDamaged)):
        served(on_s3.config)
    proxy.corrupt = False
    assert served(on_s3.config) == before


def test_a_stretch_of_many_segments_takes_a_few_range_requests(tmp_path, server):
    _, proxy = server
    bench = Bench(tmp_path / "many", **s3.environment(proxy.port), ARCHIVE_PIECE=str(16 << 20))
    try:
        h = [0.1 * number for number in range(LONG)]
        for first in range(0, MANY, 100):
            bench.store_many(range(first, first + 100), h)
        bench.writer.archive_batch()
        values = samples(bench, 100, 400)
        copied = Copied(bench.config)
        copied.copy()
        assert copied.free() == MANY
        proxy.seen.clear()
        assert samples(bench, 100, 400) == values
        assert len(values) == 300 * LONG
        index, *ranges = proxy.ranges()
        assert index[0].endswith("/index")
        assert len(ranges) <= 6, ranges
        assert all("segments-" in path for path, _ in ranges)
    finally:
        bench.close()


def test_two_archivers_at_once(bench, tmp_path):
    """On one volume a lock lets one of them work. Two without working locks, here on two copies, do no harm."""
    config, copied = bench.config, Copied(bench.config)
    before, name = segments(copied.held().folder), copied.held().name
    shutil.copytree(tmp_path / "store", tmp_path / "twin")
    twin = Copied(Bench(tmp_path / "twin", ARCHIVE_URL=config.archive_url, ARCHIVE_PIECE="3000").config)
    for _ in range(3):
        jobs = [job(config, "copy", name), job(config, "copy", name), job(twin.config, "copy", name)]
        for process in jobs:
            process.communicate(timeout=60)
    for one in (copied, twin):
        assert one.held().safe
        one.verify()
        assert one.free() == len(before)
    assert copied.stub().manifest == twin.stub().manifest
    check_copy(tmp_path / "remote" / copied.held().prefix)
    assert [path.name for path in (tmp_path / "remote").rglob("manifest*.json")] == ["manifest.json"]
    assert served(config) == served(twin.config) == before


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True)
    if done.returncode:
        pytest.skip(f"cannot mount a small file system: {done.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def fill(path: Path) -> None:
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while file.write(b"\0" * 65536):
            pass
    with contextlib.suppress(OSError), path.open("ab", buffering=0) as file:
        while file.write(b"\0" * 512):
            pass


def test_a_volume_without_a_byte_left_is_freed(tmp_path):
    with small_disk(tmp_path / "small", "8m") as disk:
        bench = Bench(disk / "store", ARCHIVE_URL=f"file://{tmp_path}/remote", ARCHIVE_PIECE="3000")
        try:
            bench.store(*range(100, 120))
            bench.writer.archive_batch()
            copied = Copied(bench.config)
            before, name = segments(copied.held().folder), copied.held().name
            fill(disk / "ballast")
            code, output = run(bench.config, "copy", name)  # nothing that is needed can be written
            assert code == 1
            assert "ERRIO" in output
            assert segments(copied.held().folder) == before
            os.unlink(disk / "ballast")
            assert run(bench.config, "copy", name)[0] == 0
            fill(disk / "ballast")
            code, output = run(bench.config, "free")  # ARCHIVE_KEEP is not set
            assert code == 0, output
            assert segments(copied.held().folder) == {}
            assert copied.stub().freed
            assert served(bench.config) == before
        finally:
            bench.close()


def test_a_full_disk_frees_copied_archives_before_anybody_is_refused_for_good(tmp_path, new_store):
    with small_disk(tmp_path / "small", "16m") as disk:
        env = {"ARCHIVE_URL": f"file://{tmp_path}/remote", "HOUSEKEEPING": "0.3", "SPOOL_SIZE": "200000"}
        archiving = Archiving(new_store("embedded", root=disk / "store", **env))
        store = archiving.store
        try:
            acked: dict[str, bytes] = {}

            def send(first: int, count: int) -> set[int]:
                bodies = [(f"{first + i}", segment(1200, t0=float(first + i))) for i in range(count)]
                sent = post_all(store.url("/sendF"), iter(bodies), 4)
                acked.update((one.name, one.body) for one in sent if one.status == 201)
                return {one.status for one in sent}

            for batch in range(2):
                assert send(1000 * batch, 150) == {201}  # 4 MB
                assert store.cleanall().status == 201
            wait_for(lambda: archiving.states() == ["safe", "safe"])
            deadline, first = time.monotonic() + 40, 5000
            while "elsewhere" not in archiving.states():  # more than would fit beside both
                send(first, 30)
                first += 30
                assert time.monotonic() < deadline
            assert archiving.states()[0] == "elsewhere", "the oldest goes first"
            while archiving.states() != ["elsewhere", "elsewhere"]:
                send(first, 30)
                first += 30
                assert time.monotonic() < deadline
            while 507 not in send(first, 30):  # nothing is left that could make room
                first += 30
            assert segments(store.archives()[0]) == segments(store.archives()[1]) == {}
            for name in list(acked)[::60]:
                assert store.request("GET", "/segment", query=f"?name={name}&batch=all").data == acked[name]
        finally:
            store.stop()
