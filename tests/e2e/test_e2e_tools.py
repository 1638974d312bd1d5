"""What the end-to-end tests are made of, as far as it works without a cluster: with a hand-written fake of kubectl."""

from __future__ import annotations

import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

import pytest
import urllib3
import yaml

from tests.e2e.__main__ import chosen
from tests.e2e.cluster import Cluster, Forward
from tests.e2e.store import ClusterStore, Load
from tests.support import ROOT, manifests
from tests.support.builders import segment
from tests.support.checks import check_archive, wait_for
from tests.support.http_server import done, pass_back, serving
from tests.support.load import post_all


class FakeGateway:
    """Leads to a function by the host of a request, as Knative's gateway does."""

    def __init__(self, store, namespace: str):
        pool = urllib3.PoolManager(maxsize=8, retries=False)
        urls = {f"{name}.{namespace}.svc.cluster.local": p.url for name, p in store.processes.items()}

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def forward(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0))) or None
                headers = {k: v for k, v in self.headers.items() if k.lower() == "idempotency-key"}
                url = urls[self.headers["Host"]] + self.path
                answer = pool.request(self.command, url, body, headers=headers)
                pass_back(self, answer, ("Content-Type", "Retry-After"))

            do_GET = do_POST = do_DELETE = forward

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = Thread(target=self.server.serve_forever, args=(0.05,))
        self.thread.start()

    def stop(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    home = tmp_path / "cluster"
    home.mkdir()
    command = home / "kubectl"
    command.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m tests.e2e.fake_kubectl "$@"\n')
    command.chmod(0o755)
    monkeypatch.setenv("FAKE_CLUSTER", str(home))
    cluster = Cluster("/kube/config", "dev", "ns", "example.org/ds:7", "example.org/pp:7", command=str(command))
    cluster.home = home  # type: ignore[attr-defined]
    yield cluster
    cluster.remove()


def applied(cluster) -> list[str]:
    """What was applied, step by step."""
    return (cluster.home / "applied").read_text().split("\n--- applied\n")[:-1]


def calls(cluster) -> list[list[str]]:
    return [json.loads(line) for line in (cluster.home / "calls").read_text().splitlines()]


def test_what_is_installed_is_the_overlay_in_the_namespace_with_the_images(cluster):
    cluster.install()
    objects = list(filter(None, yaml.safe_load_all("\n---\n".join(applied(cluster)))))
    assert {o["metadata"].get("namespace", "ns") for o in objects} == {"ns"}
    images = {c["image"] for o in objects if o["apiVersion"] == "serving.knative.dev/v1"
              for c in o["spec"]["template"]["spec"]["containers"]}  # fmt: skip
    assert images == {"example.org/ds:7", "example.org/pp:7"}
    windows = {o["spec"]["template"]["metadata"]["annotations"]["autoscaling.knative.dev/window"] for o in objects
               if o["apiVersion"] == "serving.knative.dev/v1"}  # fmt: skip
    assert windows == {"20s"}
    assert {"driver", "recorder", "writer", "ingest", "default"} <= {o["metadata"]["name"] for o in objects}
    for o in objects:
        try:
            assert manifests.complaints({**o, "metadata": {**o["metadata"], "namespace": "ns"}}) == []
        except LookupError:
            continue
    for call in calls(cluster):
        assert call[0] == "kustomize" or call[:4] == ["--kubeconfig", "/kube/config", "--namespace", "ns"]
    steps = [[o["kind"] for o in filter(None, yaml.safe_load_all(part))] for part in applied(cluster)]
    assert steps[0] == ["Namespace"]
    assert set(steps[1]) == {"Secret"}  # before the pods that mount them
    waits = [call[4:] for call in calls(cluster) if call[4:5] == ["wait"]]
    assert waits[0] == ["wait", "--for=condition=Ready", "services.serving.knative.dev", "--all", "--timeout=600s"]
    assert waits[-1][2] == "pod/driver"


def test_removing_takes_the_namespace_away(cluster):
    cluster.install()
    cluster.remove()
    assert calls(cluster)[-1][4:] == ["wait", "--for=delete", "namespace/ns", "--timeout=600s"]
    cluster.remove()
    assert [call[4:6] for call in calls(cluster)].count(["delete", "namespace"]) == 1


def test_a_rollout_patches_the_revision(cluster):
    cluster.annotate("writer", min_scale="2")
    *call, patch = calls(cluster)[-1][4:]
    assert call == ["patch", "services.serving.knative.dev/writer", "--type=merge", "--patch"]
    annotations = {"autoscaling.knative.dev/min-scale": "2"}
    assert json.loads(patch) == {"spec": {"template": {"metadata": {"annotations": annotations}}}}


def test_every_rollout_is_a_new_revision(cluster):
    cluster.roll_out("writer")
    cluster.roll_out("writer")
    first, second = ([*call[4:-1], json.loads(call[-1])] for call in calls(cluster))
    assert first[:-1] == second[:-1] == ["patch", "services.serving.knative.dev/writer", "--type=merge", "--patch"]
    assert first[-1] != second[-1]


def test_a_loads_client_gives_a_request_up_and_sends_it_again():
    keys, ended = [], Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            keys.append(self.headers["Idempotency-Key"])
            if len(keys) == 1:
                ended.wait()  # as a stopped process
            done(self, 201)

        def log_message(self, *args):
            pass

    with serving(Handler) as port:
        sent = post_all(f"http://127.0.0.1:{port}/sendF", [("one", b"{}")], 1, retry=True, patience=0.1)
        ended.set()
    assert [each.status for each in sent] == [201]
    assert keys == ["one", "one"]


def test_a_whole_run_has_every_file_with_tests_that_need_a_cluster():
    files = {f"tests/e2e/{path.name}" for path in (ROOT / "tests" / "e2e").glob("test_*.py")}
    assert set(chosen()) == files - {"tests/e2e/test_e2e_tools.py"} | {"tests/contract/test_data_buffer.py"}
    assert len(chosen()) == len(set(chosen()))


def test_facts_are_what_the_recorder_was_sent_though_its_containers_are_not_made_yet(cluster):
    assert [fact["type"] for fact in cluster.facts()] == ["eu.intertwin.datastore.frozen"]
    assert "logs" not in {call[4] for call in calls(cluster)}


def test_a_store_is_used_and_checked_through_a_cluster(cluster, new_store, tmp_path):
    local = new_store("split", root=cluster.home / "store")
    gateway = FakeGateway(local, "ns")
    (cluster.home / "gateway").write_text(str(gateway.server.server_address[1]))
    store = ClusterStore(cluster, tmp_path / "copy")
    try:
        key = {"Idempotency-Key": "one"}
        assert store.send(segment(), key).data == store.send(segment(), key).data
        assert store.request("GET", "/dumpLogF").status == 200
        assert store.cleanall().status == 201
        load = Load(store, 50, connections=8)
        load.check(store)
        assert len(load.taken) == store.check_exact()["n_itm"] == 50
        endless = Load(store, 0, connections=2, samples=3)
        wait_for(lambda: store.stat()["n_itm"] > 60)
        endless.end()
        endless.wait()
        assert store.check_exact()["n_itm"] >= 50 + len(endless.taken)
        files = store.files()
        assert store.freeze().status == 201
        refused = store.send(segment())
        assert (refused.status, refused.headers["Retry-After"]) == (503, "10")
        assert store.cleanall().status == 201
        *_, archive = store.archives()
        assert check_archive(archive) == files
        assert archive.is_relative_to(tmp_path / "copy")
    finally:
        store.stop()
        gateway.stop()


def test_a_forward_leaves_no_process_and_no_file_open(cluster):
    (cluster.home / "gateway").write_text("8080")
    before = set(os.listdir("/proc/self/fd"))
    forward = Forward(cluster, "somewhere/something")
    assert forward.port == 8080
    forward.close()
    assert forward._process.poll() is not None
    assert set(os.listdir("/proc/self/fd")) == before


def test_a_claim_that_changes_while_it_is_copied_is_copied_again(cluster, tmp_path):
    (cluster.home / "gateway").write_text("8080")
    (cluster.home / "store" / "datavar" / "data").mkdir(parents=True)
    (cluster.home / "store" / "datavar" / "data" / "gwb1.json").write_text("whole")
    (cluster.home / "changes").touch()
    store = ClusterStore(cluster, tmp_path / "copy")
    try:
        assert store.files() == {"gwb1.json": b"whole"}
    finally:
        store.stop()
    assert not (cluster.home / "changes").exists()


def test_the_cluster_is_described_by_the_environment(monkeypatch):
    for name in list(os.environ):
        if name.startswith("DATASTORE_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("DATASTORE_KUBECONFIG", "/k")
    monkeypatch.setenv("DATASTORE_NAMESPACE", "elsewhere")
    monkeypatch.setenv("DATASTORE_IMAGE", "")
    cluster = Cluster.from_env()
    assert (cluster.kubeconfig, cluster.namespace, cluster.overlay) == ("/k", "elsewhere", "dev")
    assert cluster.image == "dev.local/dt-datastore:dev"
