"""The store behind Serving's own queue-proxy: what it turns away is tried again, and nothing is lost or twice."""

from __future__ import annotations

import json
import random
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec

import urllib3

from tests.support import manifests
from tests.support.builders import segment
from tests.support.checks import check_archive
from tests.support.load import post_all
from tests.support.servers import http

WRITES = {
    "writer": {"appdata", "datavar"},
    "preproc": {"appdata", "datavar"},
    "datasets": {"appdata", "datavar"},
    "ingest": {"datavar"},
    "strain": {"datavar"},  # its indices
    "archiver": {"datavar"},
}


def numbered(count: int, first: int = 0):
    """Segments with keys; each differs from all others."""
    for i in range(first, first + count):
        yield f"segment-{i}", segment(n=32, t0=1126259446.0 + i)


def in_background(work) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def wait_until(condition, timeout=60.0) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_every_function_works_with_the_claims_and_the_hosts_of_its_manifest(pods):
    store = pods(functions=manifests.functions("prod"))
    noise = random.Random(1)
    for second in range(8):
        body = json.dumps({"h": [noise.gauss(0, 1e-21) for _ in range(4096)], "t": [1126259446.0 + second, 1 / 4096]})
        assert store.request("POST", "/streamdata", body).json()["resp"] == "CREATED"
    assert store.check_exact()["n_itm"] == 8
    assert store.request("GET", "/status.json").json()["n_itm"] == 8
    assert store.request("POST", "/train", b'{"user":"u","token":"t"}').json()["resp"] == "FROZEN"
    assert store.dstat() == {"dstatus": "FROZEN", "user": "u", "token": "t"}
    if find_spec("gwpy"):
        assert http.request("POST", store.processes["preproc"].url + "/preproc", timeout=120).status == 201
        assert http.request("GET", store.processes["preproc"].url + "/products").json()["verdict"] == "done"
    assert store.request("POST", "/cleanbuf", b'{"msg":"done"}').json()["resp"] == "CLEANED"
    assert store.stat()["n_itm"] == 0
    for name, pod in store.processes.items():
        for claim in ("appdata", "datavar"):
            may = claim in WRITES.get(name, ())
            assert (pod.run("touch", f"/mnt/store/{claim}/{name}") == 0) == may
        assert pod.run("touch", "/mnt/tmp/it") == 0
        assert pod.run("touch", f"{store.root}/it") != 0  # the root file system


def test_i1_i2_i4_ten_thousand_segments_end_exact_with_the_writer_killed_twice(pods):
    store = pods()
    done = []
    load = in_background(
        lambda: done.extend(post_all(store.url("/sendF"), numbered(10_000), connections=64, retry=True))
    )
    wait_until(lambda: store.stat()["n_itm"] >= 2_500)
    store.writer.kill()  # anywhere
    time.sleep(0.5)  # long enough for ingest to be turned away by the proxy
    store.writer.start(wait="", FAILPOINTS="commit.reply=kill@20")
    store.writer.wait_dead()  # a group is decided, durable and visible, and its answer never sent
    store.writer.start(wait="")
    load.join()
    assert len(done) == 10_000
    assert {sent.status for sent in done} == {201}
    assert store.check_exact()["n_itm"] == 10_000
    files = store.files()
    assert {sent.name for sent in done} == set(files)
    assert all(files[sent.name] == sent.body for sent in done)
    # The proxy answered for a writer that was not there: that is what ingest had to live with.
    assert "502 POST /" in store.writer.proxy_text() or "503 POST /" in store.writer.proxy_text()


def test_i4_what_overflows_the_proxy_before_ingest_is_tried_again(pods):
    store = pods(CONTAINER_CONCURRENCY="4")  # 4 under way, 40 waiting: 64 connections do not fit
    done = post_all(store.url("/sendF"), numbered(1_000), connections=64, retry=True)
    assert {sent.status for sent in done} == {201}
    assert store.check_exact()["n_itm"] == 1_000
    assert "503 POST /sendF" in store.ingest.proxy_text()


def test_i4_ingest_waits_where_the_proxy_before_the_writer_is_full(pods):
    store = pods()
    store.writer.signal(signal.SIGSTOP)
    with ThreadPoolExecutor(30) as threads:
        # One is let through, ten wait, the proxy turns the others away; ingest's commit comes too late as well.
        crowd = [threads.submit(http.request, "GET", store.writer.url + "/metrics") for _ in range(20)]
        wait_until(lambda: store.writer.proxy_text().count("503 GET /metrics") >= 9)
        sent = threads.submit(store.send, segment())
        wait_until(lambda: "503 POST /" in store.writer.proxy_text())
        assert not sent.done()
        store.writer.signal(signal.SIGCONT)
        assert sent.result().status == 201
        answers = [c.result().status for c in crowd]
    assert answers.count(200) == 11
    assert store.check_exact()["n_itm"] == 1


def test_i3_a_freeze_under_load_is_a_barrier_and_the_batch_is_filed_away_whole(pods):
    store = pods()
    done = []
    ended = threading.Event()
    load = in_background(
        lambda: done.extend(post_all(store.url("/sendF"), numbered(20_000), connections=64, stop=ended.is_set))
    )
    wait_until(lambda: store.stat()["n_itm"] >= 500)
    assert store.freeze().status == 201
    frozen, files = store.stat(), store.files()
    wait_until(lambda: "503 POST /sendF" in store.ingest.proxy_text())  # the load goes on against a frozen store
    assert store.stat() == frozen == store.check_exact()
    ended.set()
    load.join()
    assert {sent.name for sent in done if sent.status == 201} == set(files) == set(store.files())
    assert store.cleanall().status == 201
    [archive] = store.archives()
    assert check_archive(archive) == files


def test_i1_i2_a_drained_pod_loses_nothing(pods):
    store = pods()
    second = store.processes["ingest-2"] = store.new_pod("ingest").start("/health/readiness")
    old, new = [], []
    leaving = threading.Event()

    def send_to_the_old_pod():
        old.extend(post_all(store.url("/sendF"), numbered(50_000), connections=32, stop=leaving.is_set))

    load = in_background(send_to_the_old_pod)
    wait_until(lambda: store.stat()["n_itm"] >= 500)
    ending = in_background(store.ingest.drain)  # the proxy fails its probe and serves what still comes
    wait_until(lambda: not ready(store.ingest.url))
    before = store.stat()["n_itm"]
    wait_until(lambda: store.stat()["n_itm"] > before)
    leaving.set()  # the pod has left the list of endpoints
    load.join()
    new.extend(post_all(second.url + "/sendF", numbered(1_000, first=100_000), connections=32, retry=True))
    ending.join()
    assert store.ingest.process.returncode == 0
    assert {sent.status for sent in old} == {201}
    assert store.check_exact()["n_itm"] == len(old) + len(new)
    assert {sent.name for sent in [*old, *new]} == set(store.files())


def ready(url: str) -> bool:
    """The answer to the probe that Serving sends."""
    try:
        return (
            http.request("GET", url, headers={"K-Network-Probe": "queue", "User-Agent": "kube-probe/1"}).status == 200
        )
    except urllib3.exceptions.HTTPError:
        return False
