from __future__ import annotations

import pytest

from tests import manifests
from tests.harness import Store
from tests.knative import pod


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
        super().__init__("split", root)
        services = manifests.functions("prod")
        self.node = node
        self.processes["writer"] = pod.Pod(node, services["writer"], self.env)
        for name, process in self.processes.items():
            if name == "ingest":
                self.processes[name] = self.new_ingest(**ingest_proxy)
            elif name != "writer":
                env = {**process.env, "WRITER_URL": self.writer.url}
                self.processes[name] = pod.Pod(node, services[name], env) if name in functions else process
                self.processes[name].env = env

    def new_ingest(self, **proxy: str) -> pod.Pod:
        service = manifests.functions("prod")["ingest"]
        return pod.Pod(self.node, service, {**self.env, "WRITER_URL": self.writer.url}, **proxy)


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
