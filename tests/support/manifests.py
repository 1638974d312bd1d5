"""Manifests as a cluster would get them, and what they are checked against: the schemas of the resources' makers."""

from __future__ import annotations

import copy
import functools
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.support import ROOT

if TYPE_CHECKING:
    import jsonschema

KNATIVE = ROOT / "knative"
OVERLAYS = ("dev", "prod", "prod-oidc", "embedded")
GIVEN = ROOT.parent / "shared" / "schemas"  # where they are present
_cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
TOOLS = Path(os.environ.get("KNATIVE_TOOLS") or f"{_cache}/dt-datastore")  # where knative/tools/install.sh puts things
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # of libyaml, where it is there: ten times as fast
KUBERNETES = "1.34"  # the version whose own resources ours must fit


def kustomize() -> list[str]:
    """The command that builds a kustomization; skips the test where there is none."""
    if shutil.which("kubectl"):
        return ["kubectl", "kustomize"]
    if found := shutil.which("kustomize") or shutil.which("kustomize", path=str(TOOLS)):
        return [found, "build"]
    pytest.skip("needs kubectl or kustomize (knative/tools/install.sh schemas)")


@functools.cache
def _built(folder: Path) -> str:
    result = subprocess.run([*kustomize(), str(folder)], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    assert result.stderr == "", "kustomize has something to say about it"
    return result.stdout


def text(overlay: str, folder: Path = KNATIVE / "overlays") -> str:
    return _built(folder / overlay)


def objects(overlay: str) -> list[dict]:
    return list(yaml.load_all(text(overlay), LOADER))


def functions(overlay: str) -> dict[str, dict]:
    """The Knative Services of an overlay, by name."""
    return {o["metadata"]["name"]: o for o in objects(overlay) if o["apiVersion"] == "serving.knative.dev/v1"}


def closed(schema: dict) -> dict:
    """The schema with no room for fields it does not list, except where its maker says that there is some."""
    schema = copy.deepcopy(schema)
    _close(schema)
    return schema


def _close(schema) -> None:
    if isinstance(schema, list):
        for item in schema:
            _close(item)
    if not isinstance(schema, dict):
        return
    if schema.get("x-kubernetes-int-or-string"):
        schema["type"] = ["integer", "string"]
    # A specification (the top level's) is never open for real: where a CRD says so of a part whose fields it lists,
    # it is about fields that an older version stored.
    if isinstance(schema.get("properties"), dict) and "additionalProperties" not in schema:
        schema["additionalProperties"] = False
    for key, part in schema.items():
        if key not in ("enum", "default", "required"):
            if key in ("properties", "definitions", "patternProperties"):
                for value in part.values():
                    _close(value)
            else:
                _close(part)


@functools.cache
def crds() -> dict[tuple[str, str], dict]:
    """Closed schemas by (apiVersion, kind): from GIVEN, and what is not there from the makers' Go modules."""
    found = {}
    for folder in (TOOLS / "schemas", GIVEN):
        for path in sorted(folder.glob("*/*.yaml")):
            for crd in yaml.load_all(path.read_text(), LOADER):
                if (crd or {}).get("kind") != "CustomResourceDefinition":
                    continue
                for version in crd["spec"]["versions"]:
                    schema = closed(version["schema"]["openAPIV3Schema"])
                    schema["properties"] |= {"apiVersion": {}, "kind": {}, "metadata": METADATA}
                    if delivery := schema["properties"]["spec"]["properties"].get("delivery"):
                        delivery["properties"] |= DELIVERY
                    key = f"{crd['spec']['group']}/{version['name']}", crd["spec"]["names"]["kind"]
                    found[key] = schema
    return found


# What the CRDs leave open or out of a delivery and the API's own type has (eventing/pkg/apis/duck/v1).
DURATION = {"type": "string", "pattern": r"^PT(\d+H)?(\d+M)?(\d+(\.\d+)?S)?$"}
DELIVERY = {
    "timeout": DURATION,
    "backoffDelay": DURATION,
    "backoffPolicy": {"enum": ["linear", "exponential"]},
    "retry": {"type": "integer", "minimum": 0},
}
METADATA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["name"],
    "properties": {
        "name": {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"},
        "namespace": {"type": "string"},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "annotations": {"type": "object", "additionalProperties": {"type": "string"}},
    },
}


@functools.cache
def _validator(kind: tuple[str, str]) -> jsonschema.Draft202012Validator:
    import jsonschema  # a second of imports, which every process that collects tests would pay

    return jsonschema.Draft202012Validator(crds()[kind])


def complaints(object: dict) -> list[str]:
    """What the object's schema has against it.

    Raises:
        LookupError: there is no schema for it here.
    """
    kind = object["apiVersion"], object["kind"]
    if kind in crds():
        return [f"{error.json_path}: {error.message}" for error in _validator(kind).iter_errors(object)]
    import kubernetes_validate

    try:
        kubernetes_validate.validate(object, KUBERNETES, strict=True)
    except kubernetes_validate.SchemaNotFoundError:
        raise LookupError(f"no schema for {kind}: run knative/tools/install.sh schemas") from None
    except kubernetes_validate.ValidationError as error:
        return [str(error)]
    return []


def func_schema() -> dict:
    """The JSON schema of func.yaml; skips the test where there is none."""
    for folder in (GIVEN, TOOLS / "schemas"):
        path = folder / "func" / "func_yaml-schema.json"
        if path.exists():
            return json.loads(path.read_text())
    pytest.skip("needs func's JSON schema (knative/tools/install.sh schemas)")
