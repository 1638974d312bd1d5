"""I1 to I8 on a cluster: pods come, go, are killed, evicted and stopped under load; nothing is lost or doubled."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import urllib3

from tests.conftest import ON_CLUSTER
from tests.e2e.cluster import WINDOW, eventually
from tests.support.builders import segment
from tests.support.checks import check_archive

pytestmark = pytest.mark.skipif(not ON_CLUSTER, reason="needs a cluster: run `make e2e KUBECONFIG=...`")


def counted(store) -> int:
    """Segments in the batch; 0 where no answer comes at the moment."""
    try:
        answer = store.request("GET", "/stat", timeout=15)
    except urllib3.exceptions.HTTPError:
        return 0
    return answer.json()["n_itm"] if answer.status == 200 else 0


def test_i1_i2_i4_i5_ingest_scales_out_and_in_under_load_and_ends_exact(store, cluster, load):
    if cluster.embedded:
        pytest.skip("the embedded store is one pod")
    # Its pods take two requests each before more are wanted, so that a small load is a large one.
    cluster.annotate("ingest", target="2", window="6s", max_scale="3")
    eventually(lambda: cluster.settled("ingest"))
    eventually(lambda: len(cluster.serving("ingest")) == 1)
    began = load(0, connections=8, samples=3, pause=0.01)
    eventually(lambda: len(cluster.serving("ingest")) > 1, pause=0.5)
    before = counted(store)
    eventually(lambda: counted(store) > before + 500, pause=0.5)
    began.end()
    began.check(store)
    eventually(lambda: len(cluster.serving("ingest")) == 1)
    assert store.check_exact()["n_itm"]
    cluster.annotate("ingest", target=None, window=f"{WINDOW}s", max_scale="6")
    eventually(lambda: cluster.settled("ingest"))


def test_i1_i4_i6_a_writer_killed_under_load_loses_nothing(store, cluster, load):
    began = load()
    for part in (300, 1_000):
        eventually(lambda: counted(store) > part, pause=0.2)  # noqa: B023 - called before the next one
        [pod] = eventually(lambda: cluster.serving(store.writer.target))
        cluster.kubectl("delete", pod, "--grace-period=0", "--force", "--wait=false", stderr=subprocess.DEVNULL)
    began.check(store)


def test_i7_a_rollout_of_the_writer_under_load_has_two_of_them_and_loses_nothing(store, cluster, load):
    writer = store.writer.target
    began = load()
    eventually(lambda: counted(store) > 100, pause=0.2)
    [first], before = eventually(lambda: cluster.serving(writer)), set(cluster.ready_pods(writer))
    cluster.roll_out(writer)
    eventually(lambda: first in (now := set(cluster.ready_pods(writer))) and now - before, pause=0.2)
    began.check(store)
    eventually(lambda: cluster.settled(writer))


def test_i1_i4_a_node_drained_under_load_loses_nothing(store, cluster, load):
    """As `kubectl drain` does it: no new pod may come, all are evicted. The node is back at once."""
    [pod, *_] = cluster.pods(store.writer.target)
    node = cluster.get(pod)["spec"]["nodeName"]
    began = load()
    eventually(lambda: counted(store) > 300, pause=0.2)
    before = {pod for name in store.processes for pod in cluster.pods(name)}
    cluster.kubectl("cordon", node)
    try:
        for pod in before:
            cluster.evict(pod)
    finally:
        cluster.kubectl("uncordon", node)
    began.check(store)
    assert not before & {pod for name in store.processes for pod in cluster.ready_pods(name)}


def test_i6_deleted_views_come_back_equal(store, cluster):
    for n in range(1, 6):
        store.stored(segment(n))
    before = store.stat(), store.dstat()
    cluster.inside("rm", "/store/appdata/adm/StatDesc.json", "/store/appdata/adm/Dsstat.json")
    [pod] = eventually(lambda: cluster.serving(store.writer.target))
    cluster.kubectl("delete", pod, "--wait=false")
    eventually(lambda: [counted(store), store.request("GET", "/dstat").status] == [5, 200])
    assert (store.stat(), store.dstat()) == before
    assert len(cluster.inside("ls", "/store/appdata/adm/StatDesc.json", "/store/appdata/adm/Dsstat.json").split()) == 2


def test_i3_i8_freeze_is_a_barrier_and_cleanall_files_all_of_the_batch(store, load):
    began = load(0, connections=8, retry=False, pause=0.02)
    eventually(lambda: counted(store) > 100, pause=0.2)
    assert store.freeze().status == 201
    frozen = store.stat()
    assert store.send(segment()).status == 503
    began.end()
    began.wait()
    assert any("FROZEN" in each.text for each in began.sent)
    assert store.check_exact() == frozen
    files = store.files()
    assert began.taken == files
    known = set(store.archives())
    assert store.cleanall().status == 201
    [archive] = set(store.archives()) - known
    assert check_archive(archive) == files


@contextmanager
def stopped(pid: int, lock: int) -> Iterator[None]:
    """Stop a process at a moment when it does not hold the lock of this inode: with it, nobody else could decide."""
    while True:
        os.kill(pid, signal.SIGSTOP)
        eventually(lambda: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T", pause=0.01)
        locks = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
        if not any(str(pid) in line and line[-3].endswith(f":{lock}") for line in locks if "->" not in line):
            break
        os.kill(pid, signal.SIGCONT)
        time.sleep(0.01)
    try:
        yield
    except BaseException:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
        raise
    os.kill(pid, signal.SIGCONT)  # it must have been there all the time


def function_of(cluster, pod: str) -> int:
    """The process of the function in a pod, by its number on the node; skips where the node is not this machine's."""
    uid = cluster.get(pod)["metadata"]["uid"]
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            where, what = (folder / "cgroup").read_text(), (folder / "cmdline").read_bytes()
        except OSError:  # it has ended
            continue
        if (uid in where or uid.replace("-", "_") in where) and b"shared.serve" in what:
            return int(folder.name)
    pytest.skip("the pods' processes are not seen from here: needs a node on this machine, as `make cluster` makes")


def test_i1_to_i8_a_writer_stopped_while_another_one_decides_does_no_harm_when_it_goes_on(store, cluster, load):
    """As when a node does not answer: its writer stands still, another one freezes and archives, the first goes on."""
    writer = store.writer.target
    eventually(lambda: cluster.settled(writer))
    [first] = eventually(lambda: cluster.serving(writer))
    others = {first, *cluster.ready_pods(writer)}  # some of a rollout before, on their way out
    process = function_of(cluster, first)
    known = set(store.archives())
    began = load(0, connections=8, samples=3, pause=0.02)
    eventually(lambda: counted(store) > 300, pause=0.2)
    lock = int(cluster.inside("stat", "--format=%i", "/store/appdata/log/LogStream.json.lock"))
    with stopped(process, lock):
        cluster.roll_out(writer)
        eventually(lambda: set(cluster.ready_pods(writer)) - others)
        before = counted(store)
        eventually(lambda: counted(store) > before + 200, pause=0.5)
        assert set(cluster.ready_pods(writer)) - others
        assert store.freeze().status == 201
        frozen = store.check_exact(), store.files()
        assert store.cleanall().status == 201
        eventually(lambda: counted(store) > 200, pause=0.5)
    before = counted(store)
    eventually(lambda: counted(store) > before + 200, pause=0.5)  # which the first one may have part in
    began.end()
    began.wait()
    [archive] = set(store.archives()) - known
    archived = check_archive(archive)
    assert archived == frozen[1]
    store.check_exact()
    files = store.files()
    assert not archived.keys() & files.keys()
    taken, stored = began.taken, archived | files
    assert {name: stored.get(name) for name in taken} == taken
    assert len(set(stored.values())) == len(stored)
    assert len(stored) - len(taken) <= sum(each.status != 201 for each in began.sent)
