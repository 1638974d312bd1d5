"""The agent: `python -m knative.local.agent RUN`, on the node, for as long as it is up. RUN is the node's folder."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

from knative.local.agent import policies, volumes
from knative.local.agent.objects import Api, Gone, Watched

NAMESPACES, PODS, CLAIMS, VOLUMES = (
    f"/api/v1/{kind}" for kind in ("namespaces", "pods", "persistentvolumeclaims", "persistentvolumes")
)
CLASSES = "/apis/storage.k8s.io/v1/storageclasses"
POLICIES = "/apis/networking.k8s.io/v1/networkpolicies"


def serve_claims(api: Api, cluster: Watched, folder: Path) -> None:
    """Makes and removes the volumes that are due, below `folder`."""
    classes = {item["metadata"]["name"]: item for item in cluster[CLASSES]}
    for claim in volumes.wanted(cluster[CLAIMS], classes, cluster[VOLUMES]):
        place = folder / volumes.name(claim)
        place.mkdir(exist_ok=True)
        place.chmod(int(classes[claim["spec"]["storageClassName"]]["parameters"]["mode"], 8))
        api.ask("POST", VOLUMES, volumes.volume(claim, str(place)))
    for volume in volumes.done_with(cluster[VOLUMES]):
        remove(folder, volume["metadata"]["name"])
        with contextlib.suppress(Gone):
            api.ask("DELETE", f"{VOLUMES}/{volume['metadata']['name']}")


def remove(folder: Path, name: str) -> None:
    """Removes a volume's folder, in a thread: many files take minutes, and claims must not wait for that."""
    with contextlib.suppress(FileNotFoundError):
        gone = (folder / name).rename(folder / f".{name}")
        threading.Thread(target=shutil.rmtree, args=(gone, True), daemon=True).start()


def rules_of(cluster: Watched) -> str:
    """What nftables must do now."""
    namespaces = {item["metadata"]["name"]: item["metadata"].get("labels", {}) for item in cluster[NAMESPACES]}
    return policies.ruleset(cluster[POLICIES], policies.Cluster(policies.pods_of(cluster[PODS]), namespaces))


def main(run: Path) -> None:
    """Acts on every change, and again after a second where that failed."""
    api = Api(run / "pki")
    cluster = Watched(api, [NAMESPACES, PODS, CLAIMS, VOLUMES, CLASSES, POLICIES])
    in_force = ""
    while True:
        cluster.changed.wait()
        time.sleep(0.05)  # what changes together is taken together
        cluster.changed.clear()
        if not cluster.complete():
            continue
        try:
            serve_claims(api, cluster, run / "volumes")
            if (rules := rules_of(cluster)) != in_force:
                subprocess.run(["nft", "--file", "-"], input=rules, text=True, check=True)
                in_force = rules
        except (OSError, ValueError, subprocess.CalledProcessError) as error:
            print(error, flush=True)
            time.sleep(1)
            cluster.changed.set()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
