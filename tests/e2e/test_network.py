"""Who reaches the pods: no stranger, and the monitoring their metrics only."""

from __future__ import annotations

import json
import subprocess

import pytest
import yaml

from shared import events
from tests.conftest import ON_CLUSTER
from tests.e2e.cluster import DRIVER, eventually
from tests.support.builders import segment
from tests.support.servers import http

pytestmark = pytest.mark.skipif(not ON_CLUSTER, reason="needs a cluster: run `make e2e KUBECONFIG=...`")

CONNECT = """
import socket, sys
from concurrent.futures import ThreadPoolExecutor
def outcome(port):
    try:
        socket.create_connection((sys.argv[1], port), 3).close()
        return "open"
    except ConnectionRefusedError:
        return "refused"
    except OSError:
        return "dropped"
ports = [int(port) for port in sys.argv[2:]]
with ThreadPoolExecutor(len(ports)) as pool:
    for port, found in zip(ports, pool.map(outcome, ports)):
        print(port, found)
"""


@pytest.fixture(scope="module")
def pod_in(cluster):
    """A function that makes a pod in a namespace, which is made too if there is none."""
    made = []

    def make(namespace: str) -> None:
        there = cluster.kubectl("get", "namespace", namespace, check=False, stderr=subprocess.DEVNULL).returncode == 0
        if not there:
            cluster.kubectl("create", "namespace", namespace)
        made.append(["pod/e2e-visitor", "--namespace", namespace] if there else ["namespace", namespace])
        [pod, *_] = yaml.safe_load_all(DRIVER.read_text().replace("IMAGE", cluster.image))
        pod["metadata"] = {"name": "e2e-visitor"}
        pod["spec"].pop("volumes")
        pod["spec"]["containers"][0].pop("volumeMounts")
        cluster.apply(json.dumps(pod), namespace=namespace)
        cluster.kubectl("wait", "--for=condition=Ready", "pod/e2e-visitor", "--timeout=120s", namespace=namespace)

    yield make
    for what in reversed(made):
        cluster.kubectl("delete", *what, "--ignore-not-found", "--timeout=120s")


def connects(cluster, namespace: str, address: str, *ports: int) -> dict[int, str]:
    """What becomes of a visitor's connections to the ports of an address."""
    command = ["python", "-c", CONNECT, address, *map(str, ports)]
    printed = cluster.kubectl("exec", "e2e-visitor", "--", *command, namespace=namespace).stdout.decode()
    return {int(port): outcome for port, outcome in map(str.split, printed.splitlines())}


def address_of(cluster, function: str) -> str:
    [pod, *_] = cluster.ready_pods(function)
    return cluster.get(pod)["status"]["podIP"]


def test_a_strangers_pod_reaches_no_port_of_the_writer(store, cluster, pod_in):
    pod_in("datastore-e2e-stranger")
    store.stored(segment())
    function = address_of(cluster, store.writer.target)
    # The policies are enforced by the network, which may need a moment for a new pod.
    eventually(lambda: set(connects(cluster, "datastore-e2e-stranger", function, 8080, 8012, 8112, 9090, 9091).values())
               == {"dropped"}, 60)  # fmt: skip
    # Its connections do work where no policy forbids them.
    assert "open" in connects(cluster, "datastore-e2e-stranger", address_of_gateway(cluster), 80).values()


def address_of_gateway(cluster) -> str:
    namespace, _, name = cluster.gateway.partition("/")
    return f"{name}.{namespace}.svc.cluster.local"


@pytest.mark.parametrize(
    ("method", "route"),
    [("POST", "/sendF"), ("POST", "/upddsc"), ("POST", "/cleanall"), ("GET", "/stat"), ("GET", "/dumpF"),
     ("GET", "/dumpLogF"), ("GET", "/status.json"), ("GET", "/strain")],
)  # fmt: skip
@pytest.mark.parametrize("credentials", [{}, {"Authorization": "Bearer wrong"}])
def test_a_request_through_the_gateway_needs_credentials(store, method, route, credentials):
    url = f"http://127.0.0.1:{store.gateway}{route}"
    answer = http.request(method, url, body=segment(), headers={"Host": store.host(route), **credentials})
    assert (answer.status, answer.json()["code"]) == (401, "ERRAUTH")
    assert store.stat()["n_itm"] == 0


def test_the_writer_takes_nothing_from_an_operator_either(store):
    if store.topology == "embedded":
        pytest.skip("the embedded store has no writer of its own")
    commit = json.dumps([{"specversion": "1.0", "type": events.COMMIT, "source": "e2e", "id": "1", "data": {}}])
    answer = http.request("POST", store.writer.url + "/", body=commit, headers={"Content-Type": events.BATCH})
    assert (answer.status, answer.json()["code"]) == (403, "ERRSCOPE")


def test_the_monitoring_reaches_metrics_and_nothing_else(store, cluster, pod_in, monitoring):
    pod_in(monitoring)
    store.stored(segment())
    address = address_of(cluster, store.ingest.target)
    eventually(lambda: connects(cluster, monitoring, address, 8080) == {8080: "open"}, 60)
    assert set(connects(cluster, monitoring, address, 8012, 8112, 9090).values()) == {"dropped"}
