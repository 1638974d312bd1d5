"""The descriptors for `func`: valid, and in agreement with the manifests in everything `func` has words for."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import pytest
import yaml

from knative import deploy
from tests.support import manifests

if TYPE_CHECKING:
    import jsonschema

DESCRIPTORS = deploy.descriptors()


@pytest.fixture(params=sorted(DESCRIPTORS))
def name(request) -> str:
    return request.param


def descriptor(name: str) -> dict:
    return yaml.load(DESCRIPTORS[name].read_text(), manifests.LOADER)


@functools.cache
def validator() -> jsonschema.Draft4Validator:
    import jsonschema

    return jsonschema.Draft4Validator(manifests.func_schema())


def test_a_descriptor_is_valid(name):
    read = descriptor(name) | {"created": str(descriptor(name)["created"])}
    assert [error.message for error in validator().iter_errors(read)] == []
    assert read["name"] == name


def test_a_misspelt_field_of_a_descriptor_is_found(name):
    text = DESCRIPTORS[name].read_text()
    lines = text.splitlines()
    for number, line in enumerate(lines):
        key = line.partition(":")[0].strip().removeprefix("- ")
        if not key or key.startswith("#") or "/" in key:  # annotations are free
            continue
        wrong = yaml.load(
            "\n".join([*lines[:number], line.replace(f"{key}:", f"{key}x:", 1), *lines[number + 1 :]]),
            manifests.LOADER,
        )
        wrong["created"] = str(wrong.get("created"))
        if f"{key}x" != "createdx":
            assert not validator().is_valid(wrong), line


def test_a_descriptor_and_the_manifest_say_the_same(name):
    ours = descriptor(name)
    service = manifests.functions("embedded" if name == "datastore" else "dev")[name]
    template = service["spec"]["template"]
    [container] = template["spec"]["containers"]
    annotations = template["metadata"]["annotations"]
    options = ours["deploy"]["options"]
    assert ours["image"] == container["image"]
    assert ours["run"]["envs"] == container["env"]
    assert options["resources"]["requests"] == container["resources"]["requests"]
    limits = dict(options["resources"]["limits"])
    assert limits.pop("concurrency") == template["spec"]["containerConcurrency"]
    assert limits == container["resources"]["limits"]
    scale = options["scale"]
    assert str(scale["min"]) == annotations["autoscaling.knative.dev/min-scale"]
    assert str(scale["max"]) == annotations["autoscaling.knative.dev/max-scale"]
    utilization = annotations.get("autoscaling.knative.dev/target-utilization-percentage")
    assert scale.get("utilization") == (utilization and float(utilization))
    health = ours["deploy"]["healthEndpoints"]
    assert health["liveness"] == container["livenessProbe"]["httpGet"]["path"]
    assert health["readiness"] == container["readinessProbe"]["httpGet"]["path"]
    for key, value in ours["deploy"]["annotations"].items():
        assert annotations[key] == value
    labels = {label["key"]: label["value"] for label in ours["deploy"].get("labels", [])}
    assert labels == service["metadata"].get("labels", {})


def test_a_descriptor_mounts_the_claims_of_the_manifest(name):
    service = manifests.functions("embedded" if name == "datastore" else "dev")[name]
    spec = service["spec"]["template"]["spec"]
    paths = {mount["name"]: mount["mountPath"] for mount in spec["containers"][0]["volumeMounts"]}

    def source(volume: dict) -> str | None:
        claim, secret = volume.get("persistentVolumeClaim", {}), volume.get("secret")
        return claim.get("claimName") or (secret.get("secretName") if isinstance(secret, dict) else secret)

    theirs = {paths[volume["name"]]: source(volume) for volume in spec["volumes"]}
    ours = {volume["path"]: source(volume) for volume in descriptor(name)["run"]["volumes"]}
    assert ours == theirs
    # func marks a read-only claim on the volume but not on the mount, and Serving refuses that.
    assert not any(v.get("persistentVolumeClaim", {}).get("readOnly") for v in descriptor(name)["run"]["volumes"])


def test_a_deploy_names_the_image_and_builds_nothing(tmp_path):
    call = deploy.command("func", tmp_path, "example.org/ds:2", "ns")
    assert call == ["func", "deploy", "--path", str(tmp_path), "--build=false", "--push=false",
                    "--image", "example.org/ds:2", "--namespace", "ns"]  # fmt: skip


def test_a_deploy_writes_the_namespace_into_hosts_and_nowhere_else(name):
    text = DESCRIPTORS[name].read_text()
    moved = deploy.in_namespace(text, "elsewhere")
    assert ".datastore.svc." not in moved
    assert moved.replace(".elsewhere.svc.", ".datastore.svc.") == text
