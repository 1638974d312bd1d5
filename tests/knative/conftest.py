from __future__ import annotations

import pytest

from tests.knative import pod
from tests.support import manifests
from tests.support.servers import Store


@pytest.fixture(scope="session", autouse=True)
def _loopback():
    """A new network namespace has its loopback device down."""
    if not pod.missing():
        pod.run("ip", "link", "set", "lo", "up")


@pytest.fixture(scope="session")
def node():
    """The network of the pods; skips where there can be none."""
    if why := pod.missing():
        pytest.skip(why)
    node = pod.Node()
    yield node
    node.remove()


class PodStore(Store):
    """The split store with functions in pods as the prod overlay has them, by default writer and ingest only."""

    def __init__(self, node: pod.Node, root, functions=("writer", "ingest"), **ingest_proxy: str):
        super().__init__("split", root, upper="logic" in functions)
        self.node, self.hosts = node, root.with_name("hosts")
        for name in functions:
            self.processes[name] = self.new_pod(name, **(ingest_proxy if name == "ingest" else {}))
        for name, process in self.processes.items():
            if name not in functions:
                process.env = {**process.env, "WRITER_URL": self.writer.url}

    def new_pod(self, name: str, **proxy: str) -> pod.Pod:
        return pod.Pod(self.node, manifests.functions("prod")[name], self.env, self.hosts, **proxy)

    def start(self, ready=True) -> PodStore:
        self.root.mkdir(parents=True, exist_ok=True)
        pods = [process for process in self.processes.values() if isinstance(process, pod.Pod)]
        self.hosts.write_text("127.0.0.1 localhost\n" + "".join(pod.host for pod in pods))
        super().start(ready)
        return self


@pytest.fixture
def pods(node, tmp_path):
    """A function that starts a store in pods."""
    stores = []

    def start(functions=("writer", "ingest"), **ingest_proxy: str) -> PodStore:
        store = PodStore(node, tmp_path / "store", functions, **ingest_proxy)
        stores.append(store)
        store.start()
        return store

    yield start
    for store in stores:
        store.stop()
