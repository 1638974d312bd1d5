"""The networking layer of local clusters: its own tests in Go, and its manifest."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest
import yaml

from tests.support import manifests

FOLDER = manifests.KNATIVE / "local" / "ingress"


@pytest.mark.parametrize("command", ["vet", "test"])
def test_the_ingress_passes_its_own_tests(command):
    if not (manifests.TOOLS / "ingress.version").exists() or not shutil.which("go"):
        pytest.skip("needs Go, and what the ingress is built from: run `make test-knative`")
    # As install.sh and the cluster build it, so that all share what is compiled.
    environment = os.environ | {"GOFLAGS": "-buildvcs=false", "CGO_ENABLED": "0"}
    go = ["go", command, "./..."]
    result = subprocess.run(go, cwd=FOLDER, env=environment, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stdout + result.stderr


def test_every_object_of_the_ingress_is_valid():
    objects = list(yaml.safe_load_all((FOLDER / "manifest.yaml").read_text()))
    for each in objects:
        assert manifests.complaints(each) == []
    by_name = {(each["kind"], each["metadata"]["name"]): each for each in objects}
    pod = by_name["Deployment", "ingress"]["spec"]["template"]
    ports = {port["name"] for port in pod["spec"]["containers"][0]["ports"]}
    for name in ("ingress", "ingress-internal"):
        service = by_name["Service", name]["spec"]
        assert service["selector"] == pod["metadata"]["labels"]
        assert {port["targetPort"] for port in service["ports"]} <= ports
