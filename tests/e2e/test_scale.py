"""Functions that nobody needs have no pod, and the first request to one waits for it and is answered."""

from __future__ import annotations

import time

import pytest

from tests.conftest import ON_CLUSTER
from tests.e2e.cluster import eventually
from tests.support.builders import segment

pytestmark = pytest.mark.skipif(not ON_CLUSTER, reason="needs a cluster: run `make e2e KUBECONFIG=...`")

IDLE = {"stats": "/stat", "files": "/dumpF", "logdump": "/dumpLogF", "strain": "/channels", "glitchflow": "/docs"}


def test_functions_scale_to_zero_and_their_first_request_is_answered(store, cluster, report):
    if cluster.embedded:
        pytest.skip("the embedded store always has a pod")
    name = store.stored(segment())
    for function, route in IDLE.items():
        eventually(lambda: not cluster.pods(function))  # noqa: B023 - called before the next one
        began = time.monotonic()
        answer = store.request("GET", route)
        cold = time.monotonic() - began
        assert answer.status == 200, answer.data
        began = time.monotonic()
        store.request("GET", route)
        report.add("cold start", f"{function}, `GET {route}`", cold=cold, warm=time.monotonic() - began)
    assert store.stat()["n_itm"] == 1
    assert store.names() == [name]
