"""Each claim of the local cluster gets one volume, and loses it with the claim."""

import pytest

from knative.local.agent import volumes

CLASSES = {"local": {"provisioner": volumes.PROVISIONER}, "nfs": {"provisioner": "example.org/nfs"}}


def claim(phase="Pending", storage_class="local") -> dict:
    return {
        "metadata": {"namespace": "store", "name": "appdata", "uid": "1234"},
        "spec": {
            "storageClassName": storage_class,
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "5Gi"}},
        },
        "status": {"phase": phase},
    }


def made(phase: str) -> dict:
    return {**volumes.volume(claim(), "/volumes/1"), "status": {"phase": phase}}


def test_a_pending_claim_wants_a_volume():
    assert volumes.wanted([claim()], CLASSES, []) == [claim()]


@pytest.mark.parametrize("other", [claim("Bound"), claim(storage_class="nfs"), claim(storage_class="gone")])
def test_other_claims_are_left_alone(other):
    assert volumes.wanted([other], CLASSES, []) == []


def test_a_claim_whose_volume_is_not_bound_yet_gets_no_second_one():
    assert volumes.wanted([claim()], CLASSES, [made("Available")]) == []


def test_the_volume_is_for_its_claim_only():
    spec = volumes.volume(claim(), "/volumes/1")["spec"]
    assert spec["claimRef"] == {"namespace": "store", "name": "appdata", "uid": "1234"}
    assert spec["capacity"] == {"storage": "5Gi"}
    assert spec["local"] == {"path": "/volumes/1"}


def test_only_released_volumes_of_ours_are_removed():
    foreign = {"metadata": {"name": "theirs", "labels": {}}, "status": {"phase": "Released"}}
    assert volumes.done_with([made("Bound"), foreign]) == []
    assert volumes.done_with([made("Released")]) == [made("Released")]
