"""Knative's manifests as its modules have them, made fit for the local cluster.

Usage: manifests.py TARGET SOURCE... writes TARGET/kinds.yaml with namespaces and custom resource definitions, which
must be there first, and TARGET/knative.yaml. What names a program (`ko://knative.dev/...`) gets the image of
go/programs.txt.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
FIRST = ("Namespace", "CustomResourceDefinition")
# One node needs neither, and measures no load; no RequestReply, which is the only StatefulSet, is used.
LEFT_OUT = ("HorizontalPodAutoscaler", "PodDisruptionBudget", "StatefulSet")
# What an administrator sets, by ConfigMap.
SETTINGS: dict[str, dict[str, str]] = {
    "config-network": {"ingress-class": "local.ingress.networking.knative.dev"},
    "config-domain": {"example.com": ""},
    "config-deployment": {"queue-sidecar-cpu-request": "5m"},
}
FEATURES = HERE.parent / "cluster" / "config-features.patch.yaml"


def images(programs: str) -> dict[str, str]:
    """The image of each package in the text of programs.txt."""
    lines = [line.split() for line in programs.splitlines() if line and not line.startswith("#")]
    return {package: f"dev.local/{name}:1" for name, package in lines}


def documents(text: str, built: dict[str, str]) -> Iterator[dict[str, Any]]:
    """The objects in a manifest's text, with images that the node has.

    Eventing's controller also names programs of sources that the store does not use. They get the image `not-built`.
    """
    named = re.sub(r"ko://([\w./-]+)", lambda found: built.get(found[1], "dev.local/not-built:1"), text)
    for document in yaml.load_all(named, Loader=LOADER):
        if document and document["kind"] not in LEFT_OUT:
            yield fitted(document)


def fitted(document: dict[str, Any]) -> dict[str, Any]:
    """The object with the cluster's settings."""
    settings = SETTINGS.get(document["metadata"]["name"])
    if document["kind"] == "ConfigMap" and document["metadata"]["namespace"] == "knative-serving":
        if document["metadata"]["name"] == "config-features":
            settings = yaml.safe_load(FEATURES.read_text())["data"]
        if settings:
            document["data"] = {**document.get("data", {}), **settings}
    return document


def main(target: Path, sources: list[Path]) -> None:
    """Writes the objects in the files and folders `sources` into two files of the folder `target`."""
    built = images((HERE / "go" / "programs.txt").read_text())
    files = [file for source in sources for file in (sorted(source.rglob("*.yaml")) if source.is_dir() else [source])]
    kept = [document for file in files for document in documents(file.read_text(), built)]
    for name, kinds in (("kinds.yaml", True), ("knative.yaml", False)):
        chosen = [document for document in kept if (document["kind"] in FIRST) == kinds]
        (target / name).write_text(yaml.dump_all(chosen, Dumper=DUMPER))


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(source) for source in sys.argv[2:]])
