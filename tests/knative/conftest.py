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
    """The split store with ingest and writer in pods, as the prod overlay has them; the readers ask the volume."""

    def __init__(self, node: pod.Node, root, **ingest_proxy: str):
        super().__init__("split", root)
        services = manifests.functions("prod")
        self.node = node
        self.processes["writer"] = pod.Pod(node, services["writer"], self.env)
        self.processes["ingest"] = self.new_ingest(**ingest_proxy)
        for process in self.processes.values():
            if process.target != "writer":
                process.env = {**process.env, "WRITER_URL": self.writer.url}

    def new_ingest(self, **proxy: str) -> pod.Pod:
        service = manifests.functions("prod")["ingest"]
        return pod.Pod(self.node, service, {**self.env, "WRITER_URL": self.writer.url}, **proxy)


@pytest.fixture
def pods(node, tmp_path):
    """A function that starts a store in pods."""
    stores = []

    def start(**ingest_proxy: str) -> PodStore:
        store = PodStore(node, tmp_path / "store", **ingest_proxy)
        stores.append(store)
        store.start()
        return store

    yield start
    for store in stores:
        store.stop()
