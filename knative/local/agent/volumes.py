"""Volumes for claims: which to make, and which to remove. Pure: objects in, objects out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

Object = dict[str, Any]
PROVISIONER = "local.datastore.intertwin.eu"
MARK = {"datastore.intertwin.eu/volume-of": PROVISIONER}


def wanted(claims: Iterable[Object], classes: dict[str, Object], volumes: Iterable[Object]) -> list[Object]:
    """The claims that wait for a volume of ours."""
    there = {volume["metadata"]["name"] for volume in volumes}
    return [
        claim
        for claim in claims
        if claim["status"].get("phase") == "Pending"
        and classes.get(claim["spec"].get("storageClassName", ""), {}).get("provisioner") == PROVISIONER
        and name(claim) not in there
    ]


def done_with(volumes: Iterable[Object]) -> list[Object]:
    """The volumes of ours whose claim has been deleted."""
    return [
        volume
        for volume in volumes
        if volume["status"].get("phase") == "Released" and volume["metadata"].get("labels", {}).items() >= MARK.items()
    ]


def name(claim: Object) -> str:
    """The name of a claim's volume."""
    return f"pvc-{claim['metadata']['uid']}"


def volume(claim: Object, folder: str) -> Object:
    """The volume for a claim, in a folder of the node. It is a local one, because these get the group of a pod."""
    metadata, spec = claim["metadata"], claim["spec"]
    here = {"key": "kubernetes.io/hostname", "operator": "In", "values": ["node"]}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {
            "name": name(claim),
            "labels": MARK,
            "annotations": {"pv.kubernetes.io/provisioned-by": PROVISIONER},
        },
        "spec": {
            "capacity": {"storage": spec["resources"]["requests"]["storage"]},
            "accessModes": spec["accessModes"],
            "persistentVolumeReclaimPolicy": "Delete",
            "storageClassName": spec["storageClassName"],
            "claimRef": {key: metadata[key] for key in ("namespace", "name", "uid")},
            "local": {"path": folder},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
        },
    }
