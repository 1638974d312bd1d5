from __future__ import annotations

import subprocess

import pytest

pytest.register_assert_rewrite("tests.e2e.store", "tests.e2e.cluster")

from tests.e2e.report import Report  # noqa: E402 - rewritten
from tests.e2e.store import Load  # noqa: E402 - the same


def pytest_configure(config) -> None:
    config.addinivalue_line("markers", "late: what it waits for takes long, so other tests run first")


def pytest_collection_modifyitems(items) -> None:
    items.sort(key=lambda item: item.get_closest_marker("late") is not None)


@pytest.fixture
def load(store):
    """A function that begins a load on the store; what a failed test leaves of it is ended."""
    loads = []

    def begin(*arguments, **options) -> Load:
        loads.append(Load(store, *arguments, **options))
        return loads[-1]

    yield begin
    for each in loads:
        each.stop()


@pytest.fixture(scope="session")
def report(cluster):
    """The figures of this run, written at its end."""
    report = Report(cluster)
    for kind, seconds in cluster.ready.items():
        report.add("ready after", kind, seconds=seconds)
    yield report
    print(f"\nfigures: {report.write()}")


@pytest.fixture(scope="session")
def monitoring(cluster):
    """The namespace that the network policies admit, made and taken away where there is none."""
    found = cluster.kubectl("get", "namespace", "monitoring", check=False, stderr=subprocess.DEVNULL).returncode == 0
    if not found:
        cluster.kubectl("create", "namespace", "monitoring")
    yield "monitoring"
    if not found:
        cluster.kubectl("delete", "namespace", "monitoring", "--timeout=120s")
