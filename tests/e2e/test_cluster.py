"""The whole store on a real cluster: events, several pods, writers that come and go, and the claims from inside."""

from __future__ import annotations

import json
import threading
import time

import pytest

from shared import events
from tests.conftest import ON_CLUSTER
from tests.e2e.cluster import eventually
from tests.support import ROOT
from tests.support.builders import segment
from tests.support.checks import check_archive
from tests.support.load import post_all

pytestmark = pytest.mark.skipif(not ON_CLUSTER, reason="needs a cluster: run `make e2e KUBECONFIG=...`")


def distinct(count: int):
    first = time.time_ns()
    for i in range(count):
        yield f"e2e-{first + i}", segment(n=300, t0=1126259446.0 + i)


class Load(threading.Thread):
    """Segments from 32 connections, each until it is taken."""

    def __init__(self, store, count=3_000, *, retry=True):
        super().__init__()
        self._arguments = store.url("/sendF"), distinct(count), retry
        self.sent = []
        self.start()

    def run(self):
        url, bodies, retry = self._arguments
        self.sent.extend(post_all(url, bodies, 32, retry=retry))

    def check(self, store) -> None:
        """I1, I2, I4, I5: what was acknowledged is there, once, whole, and counted."""
        self.join()
        assert {sent.status for sent in self.sent} == {201}
        store.check_exact()
        files = store.files()
        assert {sent.name for sent in self.sent} == set(files)
        assert all(files[sent.name] == sent.body for sent in self.sent)


def test_i1_i2_i4_i5_several_ingest_pods_end_exact(store, cluster):
    cluster.annotate("ingest", min_scale="3")
    eventually(lambda: len(cluster.pods("ingest")) >= 3)
    Load(store).check(store)


def test_i1_i4_i6_a_writer_killed_under_load_loses_nothing(store, cluster):
    load = Load(store)
    for _ in range(2):
        eventually(lambda: store.stat()["n_itm"] > 200, pause=0.2)
        [pod, *_] = cluster.pods("writer")
        cluster.kubectl("delete", pod, "--grace-period=0", "--force", "--wait=false")
        time.sleep(5)
    load.check(store)


def test_i7_a_rollout_of_the_writer_under_load_has_two_of_them_and_loses_nothing(store, cluster):
    load = Load(store)
    eventually(lambda: store.stat()["n_itm"] > 100, pause=0.2)
    cluster.annotate("writer", window="61s")  # a new revision: both pods live for a while
    load.check(store)
    cluster.kubectl("wait", "--for=condition=Ready", "services.serving.knative.dev/writer", "--timeout=300s")


def test_i6_deleted_views_come_back_equal(store, cluster):
    for n in range(1, 6):
        store.stored(segment(n))
    before = store.stat(), store.dstat()
    cluster.kubectl(
        "exec", "driver", "--", "sh", "-c", "rm /store/appdata/adm/StatDesc.json /store/appdata/adm/Dsstat.json"
    )
    [pod, *_] = cluster.pods("writer")
    cluster.kubectl("delete", pod)
    eventually(lambda: store.request("GET", "/stat").status == 200)
    assert (store.stat(), store.dstat()) == before


def test_i3_i8_freeze_is_a_barrier_and_cleanall_files_all_of_the_batch(store):
    load = Load(store, retry=False)
    eventually(lambda: store.stat()["n_itm"] > 100, pause=0.2)
    assert store.freeze().status == 201
    frozen, files = store.check_exact(), store.files()
    load.join()
    assert store.check_exact() == frozen
    assert {sent.name for sent in load.sent if sent.status == 201} == set(files)
    known = set(store.archives())
    assert store.cleanall().status == 201
    [archive] = set(store.archives()) - known
    assert check_archive(archive) == files


def test_a_freeze_request_ends_in_spectrograms(store, cluster):
    if not (ROOT / "functions" / "preproc" / "main.py").exists():
        pytest.skip("there is no preproc here")
    for i in range(110):  # 8 s of noise at 4096 Hz, a sample of which preproc can make something
        h = [((i * 300 + k) * 7919 % 1000 - 500) * 1e-24 for k in range(300)]
        store.stored(json.dumps({"h": h, "t": [1126259446.0 + i * 300 / 4096, 1 / 4096], "detector": "L1"}).encode())
    broker = cluster.forward(cluster.broker)
    request = {"user": "e2e", "token": "e2e"}
    if cluster.overlay == "prod-oidc":  # elsewhere nothing tells a broker's delivery from a stranger's
        assert cluster.send_event(broker, events.FREEZE, request, f"freeze-{time.time_ns()}") == 202
    else:
        assert store.freeze().status == 201
    eventually(lambda: store.dstat()["dstatus"] == "FROZEN")
    eventually(
        lambda: {events.FROZEN, events.PREFIX + "spectrogram"} <= {fact["type"] for fact in cluster.facts()}, 600
    )
    store.files()  # pulls the claims
    assert any((store.root / "datavar" / "products").rglob("*"))
