"""A Prometheus that scrapes the pods that ask for it by their annotations, with the store's own rules."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from urllib.parse import quote

import pytest
import yaml

from tests.conftest import ON_CLUSTER
from tests.e2e.cluster import eventually
from tests.support.builders import segment
from tests.support.manifests import KNATIVE

pytestmark = pytest.mark.skipif(not ON_CLUSTER, reason="needs a cluster: run `make e2e KUBECONFIG=...`")

HERE = Path(__file__).parent
NOT_ONE_WRITER = {"DatastoreWriterAway", "DatastoreTwoWriters"}
FUNCTION = "serving.knative.dev/service"
ASK = """
import sys, urllib.request
print(urllib.request.urlopen('http://127.0.0.1:9090/api/v1/' + sys.argv[1]).read().decode())
"""
START = """
chmod +x prometheus
nohup ./prometheus --config.file=prometheus.yml --storage.tsdb.path=data --web.listen-address=127.0.0.1:9090 \\
  >log 2>&1 </dev/null &
"""


class Prometheus:
    """Debian's Prometheus in a pod of the namespace `monitoring`."""

    def __init__(self, cluster, program: str):
        self._cluster = cluster
        pod = (HERE / "prometheus.yaml").read_text().replace("IMAGE", cluster.image)
        cluster.apply(pod, namespace="monitoring")
        cluster.kubectl("wait", "--for=condition=Ready", "pod/e2e-prometheus", "--timeout=120s", namespace="monitoring")
        rules = yaml.safe_load((KNATIVE / "monitoring" / "alerts.yaml").read_text())
        for group in rules["groups"]:
            for rule in group["rules"]:
                rule.pop("for", None)  # their time is a matter of taste, and tests have none
        self._put("/tmp/alerts.yaml", yaml.safe_dump(rules).encode())
        self._put(
            "/tmp/prometheus.yml",
            (HERE / "prometheus.yml").read_text().replace("NAMESPACE", cluster.namespace).encode(),
        )
        with Path(program).open("rb") as file:
            self._put("/tmp/prometheus", None, stdin=file)
        self._exec("sh", "-c", f"cd /tmp; {START}")

    def _exec(self, *command: str, **kw) -> str:
        done = self._cluster.kubectl("exec", "-i", "e2e-prometheus", "--", *command, namespace="monitoring", **kw)
        return done.stdout.decode()

    def _put(self, path: str, content: bytes | None, **kw) -> None:
        self._exec("sh", "-c", f"cat > {path}", **({"input": content} if content is not None else kw))

    def find_pods(self) -> None:
        """Have it scrape the running pods that ask for it by their annotations."""
        targets = []
        for pod in self._cluster.get("pods", "--field-selector", "status.phase=Running")["items"]:
            wanted = pod["metadata"].get("annotations", {})
            if wanted.get("prometheus.io/scrape") == "true":
                labels = {"path": wanted["prometheus.io/path"], "function": pod["metadata"]["labels"][FUNCTION],
                          "pod": pod["metadata"]["name"]}  # fmt: skip
                address = f"{pod['status']['podIP']}:{wanted['prometheus.io/port']}"
                targets.append({"targets": [address], "labels": labels})
        self._put("/tmp/targets.next", json.dumps(targets).encode())
        self._exec("mv", "/tmp/targets.next", "/tmp/targets.json")

    def _ask(self, what: str) -> dict:
        return json.loads(self._exec("python", "-c", ASK, what, stdin=subprocess.DEVNULL))["data"]

    def query(self, expression: str) -> dict[str, float]:
        """The values of an expression, by function."""
        self.find_pods()
        found = self._ask(f"query?query={quote(expression)}")["result"]
        return {each["metric"].get("function", ""): float(each["value"][1]) for each in found}

    def firing(self) -> set[str]:
        """The alerts that fire."""
        self.find_pods()
        return {each["labels"]["alertname"] for each in self._ask("alerts")["alerts"] if each["state"] == "firing"}

    def up(self) -> bool:
        """Whether it answers."""
        call = self._cluster.call("exec", "e2e-prometheus", "--", "python", "-c", ASK, "alerts", namespace="monitoring")
        return subprocess.run(call, capture_output=True).returncode == 0

    def remove(self) -> None:
        self._cluster.kubectl("delete", "pod", "e2e-prometheus", namespace="monitoring")


@pytest.fixture(scope="session")  # tests of other modules run between this one's
def prometheus(cluster, monitoring):
    if not (program := shutil.which("prometheus")):
        pytest.skip("needs prometheus (Debian's package of that name)")
    prometheus = Prometheus(cluster, program)
    try:
        eventually(prometheus.up, 60)
        yield prometheus
    finally:
        prometheus.remove()


def test_metrics_are_scraped_and_an_alert_fires(store, cluster, prometheus):
    writer = store.writer.target
    eventually(lambda: cluster.settled(writer) and len(cluster.pods(writer)) == 1)
    for n in range(1, 4):
        store.stored(segment(n))
    eventually(lambda: prometheus.query("datastore_batch_segments") == {writer: 3.0}, 60)
    assert prometheus.query("up").keys() >= {writer, store.ingest.target}
    assert prometheus.query("up")[writer] == 1.0
    eventually(lambda: not prometheus.firing() & NOT_ONE_WRITER, 60)
    cluster.roll_out(writer)  # for a while there are two
    eventually(lambda: "DatastoreTwoWriters" in prometheus.firing(), 120)


@pytest.mark.late  # Serving takes a minute to end the old pod, in which other tests run
def test_the_alert_ends_with_its_cause(store, cluster, prometheus):
    eventually(lambda: cluster.settled(store.writer.target) and not prometheus.firing() & NOT_ONE_WRITER)
