"""What a cluster would say to the manifests and to what `func` deploys: Knative's own admission code, run on them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.knative.fake_cluster import FakeCluster
from tests.support import ROOT, manifests
from tests.support.manifests import KNATIVE, TOOLS

FEATURES = KNATIVE / "cluster" / "config-features.patch.yaml"


def tool(name: str) -> str:
    """The path of one of Knative's own programs; skips where it is not."""
    path = TOOLS / name
    if not path.exists():
        pytest.skip(f"needs {path}: run `make test-knative`")
    return str(path)


def admit(text: str, features: Path = FEATURES) -> subprocess.CompletedProcess:
    command = [tool("admit"), str(features)]
    return subprocess.run(command, input=text, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("overlay", manifests.OVERLAYS)
def test_knative_admits_every_overlay(overlay):
    result = admit(manifests.text(overlay))
    assert result.returncode == 0, result.stderr
    assert result.stdout.endswith(" 0 refused\n")


def mounts_read_only_claim_for_writing(objects):
    for volume in objects["writer"]["spec"]["template"]["spec"]["volumes"]:
        if "persistentVolumeClaim" in volume:
            volume["persistentVolumeClaim"]["readOnly"] = True


def mounts_at_a_relative_path(objects):
    objects["ingest"]["spec"]["template"]["spec"]["containers"][0]["volumeMounts"][0]["mountPath"] = "tmp"


def asks_for_what_serving_does_not_pass_on(objects):
    objects["writer"]["spec"]["template"]["spec"]["securityContext"]["fsGroupChangePolicy"] = "OnRootMismatch"


def misspells_a_field_that_the_schema_leaves_open(objects):
    objects["writer"]["spec"]["template"]["spec"]["volumes"][0]["emptyDir"]["sizelimit"] = "1Mi"


def waits_in_no_unit_of_time(objects):
    objects["segment"]["spec"]["delivery"]["backoffDelay"] = "1s"


def pings_at_no_time(objects):
    objects["reconcile"]["spec"]["schedule"] = "every minute"


@pytest.mark.parametrize(
    "spoil",
    [
        mounts_read_only_claim_for_writing,
        mounts_at_a_relative_path,
        asks_for_what_serving_does_not_pass_on,
        misspells_a_field_that_the_schema_leaves_open,
        waits_in_no_unit_of_time,
        pings_at_no_time,
    ],
)
def test_knative_refuses_what_is_wrong(spoil):
    objects = manifests.objects("dev")
    spoil({o["metadata"]["name"]: o for o in objects if o["kind"] in ("Service", "Trigger", "PingSource")})
    result = admit(yaml.safe_dump_all(objects))
    assert result.returncode == 1
    assert result.stdout.endswith(" 1 refused\n")


def test_every_feature_flag_is_needed(tmp_path):
    flags = yaml.safe_load(FEATURES.read_text())
    for flag in flags["data"]:
        less = tmp_path / "flags.yaml"
        less.write_text(yaml.safe_dump({"data": {k: v for k, v in flags["data"].items() if k != flag}}))
        assert admit(manifests.text("prod"), less).returncode == 1, flag


# -- func -----------------------------------------------------------------------------------------------------------

DESCRIPTORS = [ROOT / "func.yaml", *sorted((KNATIVE / "func").glob("*/func.yaml"))]


def loaded(text: str, folder: Path) -> subprocess.CompletedProcess:
    """What func says to a descriptor; it only warns of fields that it does not know."""
    (folder / "func.yaml").write_text(text)
    command = [tool("func"), "config", "envs", "--path", str(folder), "--output", "json"]
    env = {**os.environ, "HOME": str(folder)}
    return subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("path", DESCRIPTORS, ids=lambda path: path.parent.name)
def test_func_loads_the_descriptor_without_a_word(path, tmp_path):
    result = loaded(path.read_text(), tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    name = "datastore" if path.parent == ROOT else path.parent.name
    assert {"Name": "FUNCTION_TARGET", "Value": name} in json.loads(result.stdout)


def test_func_complains_of_a_misspelt_descriptor(tmp_path):
    text = (ROOT / "func.yaml").read_text()
    assert 'unknown field "claimNam"' in loaded(text.replace("claimName", "claimNam"), tmp_path).stderr


def test_what_func_deploys_is_what_the_manifests_say_and_knative_admits_it(tmp_path):
    expected = {**manifests.functions("dev"), **manifests.functions("embedded")}
    with FakeCluster() as cluster:
        env = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig(tmp_path)), "HOME": str(tmp_path)}
        images = ["--image", "example.invalid/ds:1", "--preproc-image", "example.invalid/pp:1"]
        command = [sys.executable, str(KNATIVE / "deploy.py"), "--func", tool("func"), *images]
        command += ["--namespace", "elsewhere", *expected]
        result = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
        assert result.returncode == 0, result.stderr
        deployed = cluster.services
    assert set(deployed) == {f"elsewhere/{name}" for name in expected}
    assert next(iter(deployed)) == "elsewhere/writer"
    text = yaml.safe_dump_all(deployed.values())
    assert admit(text).returncode == 0, admit(text).stderr
    for name, service in expected.items():
        ours = service["spec"]["template"]
        theirs = deployed[f"elsewhere/{name}"]["spec"]["template"]
        own, other = ours["spec"]["containers"][0], theirs["spec"]["containers"][0]
        assert other["image"] == (
            "example.invalid/pp:1" if name in ("preproc", "datasets", "strain") else "example.invalid/ds:1"
        )
        assert other["resources"] == own["resources"]
        assert theirs["spec"]["containerConcurrency"] == ours["spec"]["containerConcurrency"]
        for key in ("autoscaling.knative.dev/min-scale", "autoscaling.knative.dev/max-scale", "prometheus.io/path"):
            assert theirs["metadata"]["annotations"][key] == ours["metadata"]["annotations"][key]
        assert {m["mountPath"] for m in other["volumeMounts"]} == {m["mountPath"] for m in own["volumeMounts"]}
        given = {e["name"]: e["value"] for e in other["env"]}
        for entry in own["env"]:
            assert given[entry["name"]] == entry["value"].replace(".datastore.svc", ".elsewhere.svc")
