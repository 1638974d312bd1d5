"""A full disk: 507, nothing changes, and it works again when there is space."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess

import pytest

from shared.errors import StorageFailed
from shared.volume.posix import require_space
from tests.support.builders import segment
from tests.support.checks import name_in
from tests.support.load import post_all
from tests.support.servers import http


@pytest.fixture(params=["everything", "appdata"])
def small_disk(request, tmp_path):
    """A store's root whose data, or only its journal, lies on a file system of a few megabytes."""
    root = tmp_path / "small"
    mount = root if request.param == "everything" else root / "appdata"
    mount.mkdir(parents=True)
    size = "4m" if request.param == "everything" else "300k"
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", mount], capture_output=True)
    if done.returncode:
        pytest.skip(f"cannot mount a small file system: {done.stderr.decode().strip()}")
    yield root, mount
    subprocess.run(["umount", mount], check=True)


@pytest.mark.parametrize("apart", ["1", "1000"])
def test_disk_full_is_507_and_recovers(small_disk, apart, topology, new_store):
    root, mount = small_disk
    store = new_store(topology, root=root, SPOOL_SIZE="500000", STAGE_APART=apart)
    try:
        ballast = mount / "ballast"
        ballast.write_bytes(b"\0" * (100_000 if mount != root else 1_000_000))
        bodies = (("", segment(300, t0=float(i))) for i in range(1500))
        sent = post_all(store.url("/sendF"), bodies, 8)
        statuses = {s.status for s in sent}
        assert statuses == {201, 507}
        refused = next(s for s in sent if s.status == 507)
        assert b"ERRIO" in refused.answer
        stat = store.check_exact()
        acked = {s.name: s.body for s in sent if s.status == 201}
        assert stat["n_itm"] == len(acked)
        again = store.send(segment(300))  # a trim may have made room for it
        assert again.status in (201, 507)
        if again.status == 201:
            acked[name_in(again.data)] = segment(300)
        assert store.check_exact()["n_itm"] == len(acked)

        os.unlink(ballast)
        name = store.stored(segment(5, t0=7.0))
        assert store.check_exact()["n_itm"] == len(acked) + 1
        files = store.files()
        assert files[name] == segment(5, t0=7.0)
        assert all(files[n] == body for n, body in acked.items())
        for process in {store.writer, store.ingest}:
            process.kill()
            process.start("/health/liveness")
        store.writer.wait()
        assert store.check_exact()["n_itm"] == len(acked) + 1
    finally:
        store.stop()


def test_readiness_says_that_a_volume_is_full_until_there_is_room(topology, new_store, tmp_path):
    root = tmp_path / "volume"
    root.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m,nr_inodes=400", "tmpfs", root], capture_output=True)
    if done.returncode:
        pytest.skip(f"cannot mount a file system: {done.stderr.decode().strip()}")
    store = new_store(topology, root=root)

    def ready(process) -> tuple[int, bytes]:
        answer = http.request("GET", process.url + "/health/readiness")
        return answer.status, answer.data

    try:
        for fill in (fill_blocks, fill_inodes):
            for process in (store.writer, store.ingest):
                assert ready(process)[0] == 200
            fill(root / "ballast")
            for process in (store.writer, store.ingest):
                status, text = ready(process)
                assert status == 507
                assert b"ERRIO" in text
                assert str(root).encode() in text
            shutil.rmtree(root / "ballast")
        assert store.send(segment(3)).status == 201
    finally:
        store.stop()
        subprocess.run(["umount", root], check=True)


def fill_blocks(folder) -> None:
    folder.mkdir()
    with contextlib.suppress(OSError), (folder / "blocks").open("wb", buffering=0) as file:
        while file.write(b"\0" * 65536):
            pass


def fill_inodes(folder) -> None:
    folder.mkdir()
    with contextlib.suppress(OSError):
        for number in range(1000):
            (folder / str(number)).touch()


def test_a_volume_mounted_read_only_is_named(tmp_path):
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", tmp_path], capture_output=True).returncode:
        pytest.skip("cannot mount a file system")
    try:
        with pytest.raises(StorageFailed, match="read-only"):
            require_space(str(tmp_path))
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_a_read_only_volume_is_507_until_it_can_be_written(topology, new_store, tmp_path):
    root = tmp_path / "volume"
    root.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", root], capture_output=True)
    if done.returncode:
        pytest.skip(f"cannot mount a file system: {done.stderr.decode().strip()}")
    store = new_store(topology, root=root)
    try:
        name = store.stored(segment(3))
        store.stop()
        subprocess.run(["mount", "-o", "remount,ro", root], check=True)
        store.start(ready=False)
        answer = store.send(segment(4))
        assert (answer.status, answer.json()["code"]) == (507, "ERRIO")
        assert store.cleanall().status == 507
        assert http.request("GET", store.writer.url + "/health/liveness").status == 200
        assert http.request("GET", store.writer.url + "/health/readiness").status == 507
        subprocess.run(["mount", "-o", "remount,rw", root], check=True)
        store.writer.wait()
        store.ingest.wait()
        assert store.names() == [name]
        store.stored(segment(4))
        assert store.check_exact()["n_itm"] == 2
    finally:
        store.stop()
        subprocess.run(["umount", root], check=True)
