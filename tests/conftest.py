from __future__ import annotations

import os
import signal

import pytest

from tests.support import ROOT
from tests.support.servers import Store

# With a cluster to run on (see tests/e2e/cluster.py) the same contract is asked there, and nothing is started here.
ON_CLUSTER = bool(os.environ.get("DATASTORE_KUBECONFIG"))
TOPOLOGIES = ("cluster",) if ON_CLUSTER else ("embedded", "split")
FOLDERS = ("unit", "contract", "guarantees", "faults", "fuzz", "knative", "e2e")
# Fixtures that many tests share.
SHARED = ("_running", "_services_running", "store", "alone", "browser", "made", "refusing")


def pytest_configure(config) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a run in the background; what tests start would inherit it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for folder in FOLDERS:
        config.addinivalue_line("markers", f"{folder}: tests in tests/{folder}/")


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items) -> None:
    """Mark tests by folder, and keep those that share a store in one worker: it is started once."""
    for item in items:
        folder = item.path.relative_to(ROOT / "tests").parts[0]
        if folder in FOLDERS:
            item.add_marker(folder)
        params = item.callspec.params if hasattr(item, "callspec") else {}
        if shared := next((name for name in SHARED if name in item.fixturenames), None):
            module = "" if shared.startswith("_") else item.path.stem
            item.add_marker(pytest.mark.xdist_group(f"{module}{shared}-{params.get(shared, '')}"))


@pytest.fixture(params=TOPOLOGIES)
def topology(request) -> str:
    """Every test that uses it runs over both topologies."""
    return request.param


@pytest.fixture
def new_store(tmp_path):
    """A function that makes and starts a store of its own for one test; all are stopped at the end."""
    stores = []

    def make(topology: str, *, ready=True, start=True, root=None, upper=False, **env: str) -> Store:
        store = Store(topology, root or tmp_path / "store", upper, forked=True, **env)
        stores.append(store)
        return store.start(ready) if start else store

    yield make
    for store in stores:
        store.stop()


@pytest.fixture(scope="session")
def cluster():
    """The store installed on a real cluster for this session, and taken away again."""
    if not ON_CLUSTER:
        pytest.skip("needs a cluster: run `make e2e KUBECONFIG=...`")
    from tests.e2e.cluster import Cluster

    cluster = Cluster.from_env()
    try:
        if cluster.overlay == "prod-oidc" and not cluster.have_flag("authentication-oidc", "enabled"):
            pytest.skip("Eventing's flag authentication-oidc is not enabled, and DATASTORE_FLAGS=set is not given")
        cluster.install()
        yield cluster
    finally:
        cluster.remove()


@pytest.fixture(scope="session", params=TOPOLOGIES)
def _running(request, tmp_path_factory):
    if request.param == "cluster":
        from tests.e2e.store import ClusterStore

        remote = ClusterStore(request.getfixturevalue("cluster"), tmp_path_factory.mktemp("claims") / "copy")
        yield remote
        remote.stop()
        return
    with Store(request.param, tmp_path_factory.mktemp(request.param)) as store:
        yield store


@pytest.fixture(scope="session", params=TOPOLOGIES)
def _services_running(request, tmp_path_factory):
    root = tmp_path_factory.mktemp(f"services-{request.param}")
    with Store(request.param, root, upper=True, MAX_SIZE="3000") as store:
        yield store


@pytest.fixture
def services(_services_running) -> Store:
    """As `store`, with Datastore Logic and GlitchflowAPI; a batch may freeze from 3000 bytes on."""
    assert _services_running.cleanall().status == 201
    return _services_running


@pytest.fixture
def store(_running) -> Store:
    """A store in each topology, shared by the tests that leave it running; the batch is empty and open."""
    assert _running.cleanall().status == 201
    return _running
