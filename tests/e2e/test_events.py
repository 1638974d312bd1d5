"""Events on a cluster: from a freeze to spectrograms, dead letters, and whose events are taken."""

from __future__ import annotations

import json
import re
import subprocess
import time

import pytest

from shared import events
from tests.conftest import ON_CLUSTER
from tests.e2e.cluster import eventually
from tests.support import ROOT
from tests.support.builders import segment

pytestmark = pytest.mark.skipif(not ON_CLUSTER, reason="needs a cluster: run `make e2e KUBECONFIG=...`")

SPECTROGRAM = events.PREFIX + "spectrogram"


@pytest.fixture(autouse=True)
def _broker(cluster):
    if cluster.embedded:
        pytest.skip("the embedded store has no broker")


@pytest.fixture
def sender(cluster) -> str:
    """A token of the service account whose events the broker takes, where it asks for one."""
    if cluster.overlay != "prod-oidc":
        return ""
    return token_of(cluster, "event-sender", cluster.get("broker", "default")["status"]["address"]["audience"])


def token_of(cluster, account: str, audience: str, namespace: str | None = None) -> str:
    made = cluster.kubectl("create", "token", account, f"--audience={audience}", namespace=namespace)
    return made.stdout.decode().strip()


def unique(name: str) -> str:
    return f"{name}-{time.time_ns()}"


def test_a_freeze_request_ends_in_spectrograms(store, cluster, sender):
    for i in range(110):  # 8 s of noise at 4096 Hz, a sample of which preproc can make something
        h = [((i * 300 + k) * 7919 % 1000 - 500) * 1e-24 for k in range(300)]
        store.stored(json.dumps({"h": h, "t": [1126259446.0 + i * 300 / 4096, 1 / 4096], "detector": "L1"}).encode())
    known = {fact["id"] for fact in cluster.facts()}
    if sender:  # elsewhere nothing tells a broker's delivery from a stranger's
        assert cluster.send_event(events.FREEZE, {"user": "e2e", "token": "e2e"}, unique("freeze"), sender) == 202
    else:
        assert store.freeze().status == 201
    eventually(lambda: store.dstat()["dstatus"] == "FROZEN")

    def new() -> set[str]:
        return {fact["type"] for fact in cluster.facts() if fact["id"] not in known}

    eventually(lambda: {events.FROZEN, SPECTROGRAM} <= new(), 600)
    assert {path.suffix for path in store.products()} >= {".hdf5", ".png", ".json"}


def documented_commands() -> tuple[str, str]:
    """How operators find dead letters, from the alert's entry in the handbook."""
    [entry] = re.findall(
        r"\*\*DatastoreDeadLetters\*\*:.*?(?=\n\n)", (ROOT / "docs" / "operations.md").read_text(), re.S
    )
    listing, printing = re.findall(r"`(kubectl [^`]*)`", entry)[:2]
    return listing, printing


def test_a_dead_letter_is_found_by_the_documented_commands(store, cluster, sender):
    """A segment that is none, and everywhere but with OIDC any segment: its delivery has no credentials."""
    id = unique("dead")
    assert cluster.send_event(events.PREFIX + "segment", {"h": "no samples"}, id, sender) == 202
    listing, printing = (command.split()[1:] for command in documented_commands())

    def letters() -> list[str]:
        return cluster.kubectl(*listing, "--output", "name").stdout.decode().split()

    def printed() -> list[dict]:
        texts = [cluster.kubectl(printing[0], name.replace(".batch", ""), check=False, stderr=subprocess.DEVNULL).stdout
                 for name in letters()]  # fmt: skip
        return [json.loads(text) for text in texts if text.strip()]  # there is no log until its container is made

    eventually(lambda: id in {event["id"] for event in printed()}, 120)
    [event] = [event for event in printed() if event["id"] == id]
    assert (event["type"], event["data"]) == (events.PREFIX + "segment", {"h": "no samples"})
    assert store.stat()["n_itm"] == 0


def test_a_brokers_segment_is_stored_under_its_triggers_name_where_eventing_authenticates(store, cluster, sender):
    if not sender:
        pytest.skip("without OIDC in Eventing a broker's deliveries are a stranger's, and refused")
    body = json.loads(segment(5))
    id = unique("stored")
    for _ in range(2):  # the second one is a repetition
        assert cluster.send_event(events.PREFIX + "segment", body, id, sender) == 202
    eventually(lambda: store.stat()["n_itm"] == 1, 60)
    [entry] = store.logged()
    assert entry["by"] == f"system:serviceaccount:{cluster.namespace}:segment-oidc-eventing.knative.dev-trigger"
    [file] = store.files().values()
    assert json.loads(file) == body


def test_the_brokers_and_the_channels_doors_are_shut_to_strangers_where_eventing_authenticates(store, cluster, sender):
    if not sender:
        pytest.skip("without OIDC in Eventing brokers and channels take events from everybody")
    stranger = token_of(cluster, "default", cluster.get("broker", "default")["status"]["address"]["audience"])
    for token, status in (("", 401), ("x.y.z", 401), (stranger, 403)):
        assert cluster.send_event(events.FREEZE, {"user": "e2e", "token": "e2e"}, unique("no"), token) == status
    assert store.dstat()["dstatus"] == "OPERATIONAL"
    [channel] = cluster.get("inmemorychannels.messaging.knative.dev")["items"]
    address = channel["status"]["address"]
    for account in (None, "default", "event-sender"):  # even whoever may send to the broker may not go round it
        token = token_of(cluster, account, address["audience"]) if account else ""
        assert post_from_driver(cluster, address["url"], token) in (401, 403)


POST = """
import os, sys, urllib.request, urllib.error
headers = {"ce-specversion": "1.0", "ce-id": sys.argv[2], "ce-source": "/e2e", "ce-type": sys.argv[3],
           "Content-Type": "application/json"}
if os.environ["TOKEN"]:
    headers["Authorization"] = "Bearer " + os.environ["TOKEN"]
try:
    print(urllib.request.urlopen(urllib.request.Request(sys.argv[1], b"{}", headers), timeout=20).status)
except urllib.error.HTTPError as error:
    print(error.code)
"""


def post_from_driver(cluster, url: str, token: str) -> int:
    """The status of an event that is posted to a URL within the cluster."""
    environment = ("env", f"TOKEN={token}")
    return int(cluster.inside(*environment, "python", "-c", POST, url, unique("round"), events.FREEZE))
