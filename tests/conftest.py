from __future__ import annotations

import pytest

from tests.harness import Store

TOPOLOGIES = ("embedded", "split")


@pytest.fixture(params=TOPOLOGIES)
def topology(request) -> str:
    """Every test that uses it runs over both topologies."""
    return request.param


@pytest.fixture
def new_store(tmp_path):
    """A function that starts a store of its own for one test; all are stopped at the end."""
    stores = []

    def start(topology: str, *, ready=True, root=None, upper=False, **env: str) -> Store:
        store = Store(topology, root or tmp_path / "store", upper, **env)
        stores.append(store)
        return store.start(ready)

    yield start
    for store in stores:
        store.stop()


@pytest.fixture(scope="session", params=TOPOLOGIES)
def _running(request, tmp_path_factory):
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
