from __future__ import annotations

import sys

import pytest

from tests.support.bench import Bench

_watching = False


def _forbid_processes(event: str, arguments: tuple[object, ...]) -> None:
    if _watching and event in ("subprocess.Popen", "os.posix_spawn", "os.fork"):
        raise AssertionError(f"a unit test must not start a process: {event}{arguments}")


sys.addaudithook(_forbid_processes)


@pytest.fixture(autouse=True)
def _no_process():
    """Tests here start no process: what needs one lies in another folder."""
    global _watching
    _watching = True
    yield
    _watching = False


@pytest.fixture
def switching():
    """Within it, threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path / "store")
    yield bench
    bench.close()
