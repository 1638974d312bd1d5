"""Segments a second through Knative's gateway, beside the same functions as plain processes, for the report."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.conftest import ON_CLUSTER
from tests.support import ROOT
from tests.support.servers import Store

pytestmark = pytest.mark.skipif(not ON_CLUSTER, reason="needs a cluster: run `make e2e KUBECONFIG=...`")

SECONDS = 5


def local_rate(store: Store, connections: int) -> float:
    command = [sys.executable, "-m", "tests.e2e.driver_load", store.url("/sendF"), f"--connections={connections}"]
    done = subprocess.run([*command, f"--seconds={SECONDS}", f"--first={connections * 10**9}"],
                          capture_output=True, text=True, check=True, cwd=ROOT)  # fmt: skip
    *answers, last = map(json.loads, done.stdout.splitlines())
    return sum(status == 201 for _, status, _ in answers) / last["seconds"]


def test_segments_a_second_through_the_gateway_and_without_knative(store, cluster, load, report, tmp_path):
    if cluster.overlay != "dev":
        pytest.skip("figures are taken with `dev`")
    for connections in (1, 16, 64):
        assert store.cleanall().status == 201
        began = load(0, connections=connections, seconds=SECONDS, retry=False)
        began.wait()
        gateway = len(began.taken) / began.seconds
        assert store.stat()["n_itm"] >= len(began.taken) > 0
        with Store("split", tmp_path / f"local{connections}") as local:
            without = local_rate(local, connections)
        report.add("segments/s, 300 samples each", f"{connections} connections", gateway=gateway, without=without)
    assert store.cleanall().status == 201
