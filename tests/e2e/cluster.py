"""A store on a real cluster, spoken to with kubectl: its life, ways in, and what its pods do.

`make e2e` sets DATASTORE_KUBECONFIG and DATASTORE_OVERLAY; DATASTORE_NAMESPACE, DATASTORE_IMAGE,
DATASTORE_PREPROC_IMAGE, DATASTORE_STORAGE_CLASS, DATASTORE_GATEWAY and DATASTORE_BROKER where they differ from what
stands below.
DATASTORE_FLAGS=set lets the tests switch Eventing's OIDC on for as long as they run.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import urllib3
import yaml

from tests.support import ROOT
from tests.support.manifests import KNATIVE

DRIVER, RECORDER = (Path(__file__).with_name(name) for name in ("driver.yaml", "recorder.yaml"))
AWAITED = {"Service": "services.serving.knative.dev", "Broker": "brokers", "Trigger": "triggers",
           "SinkBinding": "sinkbindings", "PingSource": "pingsources", "JobSink": "jobsinks"}  # fmt: skip
T = TypeVar("T")
SINK = "sinks.knative.dev/job-sink-name"
# Seconds without requests after which a function, or a revision that a rollout has replaced, loses its pods. Knative's
# own 60 s would only be waited for.
WINDOW = 20
AUTOSCALING = "autoscaling.knative.dev/"


class Forward:
    """A local port that leads to a service ("namespace/name"), until it is closed."""

    def __init__(self, cluster: Cluster, service: str):
        namespace, _, name = service.partition("/")
        call = cluster.call("port-forward", f"service/{name}", ":80", namespace=namespace)
        self._process = subprocess.Popen(call, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout
        self._said = self._process.stdout
        line = self._said.readline()
        found = re.match(r"Forwarding from 127\.0\.0\.1:(\d+)", line)
        self._reader = threading.Thread(target=self._said.read, daemon=True)  # it speaks of every connection
        self._reader.start()
        if not found:
            self.close()
            raise AssertionError(f"port-forward to {service}: {line!r}")
        self.port = int(found[1])

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(30)
        self._reader.join()
        self._said.close()


@dataclass
class Cluster:
    """One namespace of a cluster. `gateway` and `broker` are namespace/service."""

    kubeconfig: str
    overlay: str = "dev"
    namespace: str = ""
    image: str = "dev.local/dt-datastore:dev"
    preproc_image: str = "dev.local/dt-datastore-preproc:dev"
    gateway: str = "kourier-system/kourier-internal"
    broker: str = "knative-eventing/broker-ingress"
    flags: str = ""
    storage_class: str = ""
    command: str = "kubectl"
    token: str = ""
    ready: dict[str, float] = field(default_factory=dict)  # seconds from `install` until each kind was ready
    _forwards: dict[str, Forward] = field(default_factory=dict)
    _undo: list[Callable[[], object]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.namespace = self.namespace or f"datastore-e2e-{self.overlay}"

    @classmethod
    def from_env(cls) -> Cluster:
        names = (
            "kubeconfig",
            "overlay",
            "namespace",
            "image",
            "preproc_image",
            "gateway",
            "broker",
            "flags",
            "storage_class",
        )
        given = {name: os.environ.get(f"DATASTORE_{name.upper()}", "") for name in names}
        return cls(**{name: value for name, value in given.items() if value})  # type: ignore[arg-type]

    @property
    def embedded(self) -> bool:
        return self.overlay == "embedded"

    def kubectl(self, *arguments: str, namespace: str | None = None, **kw) -> subprocess.CompletedProcess:
        kw = {"check": True, "timeout": 900, "stdout": subprocess.PIPE, **kw}
        return subprocess.run(self.call(*arguments, namespace=namespace), **kw)

    def call(self, *arguments: str, namespace: str | None = None) -> list[str]:
        return [self.command, "--kubeconfig", self.kubeconfig, "--namespace", namespace or self.namespace, *arguments]

    def get(self, *arguments: str, **kw):
        """What `kubectl get` finds."""
        return json.loads(self.kubectl("get", *arguments, "--output", "json", **kw).stdout)

    def apply(self, text: str, namespace: str | None = None) -> None:
        self.kubectl("apply", "--filename", "-", input=text.encode(), namespace=namespace)

    # -- the store's life ---------------------------------------------------------------------------------------

    def kustomization(self) -> str:
        """An overlay over the chosen one, with this namespace and these images."""

        def renamed(name: str, image: str) -> dict[str, str]:
            # In the overlay below the image already has its name.
            path, _, tag = image.rpartition(":")
            return {"name": name, "newName": path, "newTag": tag}

        below = KNATIVE / "overlays" / self.overlay.removesuffix("-oidc") / "kustomization.yaml"
        named = {entry["name"]: entry["newName"] for entry in yaml.safe_load(below.read_text())["images"]}
        images = {"datastore": self.image, "datastore-preproc": self.preproc_image}
        transformers = ["../../namespaced"] if not self.embedded else []
        claims = [{"op": "add", "path": "/spec/storageClassName", "value": self.storage_class}]
        annotation = f"/spec/template/metadata/annotations/{AUTOSCALING.replace('/', '~1')}window"
        window = [{"op": "add", "path": annotation, "value": f"{WINDOW}s"}]
        patches = [{"target": {"group": "serving.knative.dev", "kind": "Service"}, "patch": json.dumps(window)}]
        if self.storage_class:
            patches.append({"target": {"kind": "PersistentVolumeClaim"}, "patch": json.dumps(claims)})
        return yaml.safe_dump({
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "namespace": self.namespace,
            "resources": [f"../{self.overlay}"],
            "images": [renamed(named[name], image) for name, image in images.items() if name in named],
            "patches": patches,
            "transformers": [*transformers, *(["../../namespaced-oidc"] if self.overlay == "prod-oidc" else [])],
        })  # fmt: skip

    def manifests(self) -> str:
        """What is applied."""
        with tempfile.TemporaryDirectory() as folder:
            shutil.copytree(KNATIVE, Path(folder) / "knative")
            overlay = Path(folder) / "knative" / "overlays" / "e2e"
            overlay.mkdir()
            (overlay / "kustomization.yaml").write_text(self.kustomization())
            return subprocess.run(
                [self.command, "kustomize", str(overlay)], check=True, stdout=subprocess.PIPE, text=True
            ).stdout

    def secrets(self) -> str:
        """What the functions mount; `token` is the tests' own from now on."""
        command = [sys.executable, "-m", "shared.auth.issue_token", "--secret"]
        made = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
        self.token = made.stderr.split()[-1]
        return made.stdout

    def install(self) -> None:
        """Apply the store and the tests' own objects in the order of the handbook, and wait until all is ready."""
        # `make cluster` has volumes that are root's: whichever pod is the first must open them to the others.
        roots = self.kubectl("get", "storageclass", "local-root", "--ignore-not-found", "--output", "name")
        self.storage_class = self.storage_class or roots.stdout.decode().strip().rpartition("/")[2]
        text = self.manifests()
        objects = list(yaml.safe_load_all(text))
        kinds = {object["kind"] for object in objects}
        self.apply(yaml.safe_dump_all([object for object in objects if object["kind"] == "Namespace"]))
        self._undo.append(self._delete_namespace)
        self.apply(self.secrets())
        if self.overlay == "prod-oidc":
            keys = self.kubectl("get", "--raw", "/openid/v1/jwks").stdout.decode()
            self.kubectl("create", "configmap", "datastore-issuer", f"--from-literal=jwks.json={keys}")
        began = time.monotonic()
        self.apply(text)
        self.apply(DRIVER.read_text().replace("IMAGE", self.image))
        if "Broker" in kinds:
            self.apply(RECORDER.read_text().replace("IMAGE", self.image))
        for kind in (plural for kind, plural in AWAITED.items() if kind in kinds):
            timeout = "600s"
            if kind == "triggers":  # as the handbook says
                seen, timeout = f"datastore.intertwin.eu/seen={time.time_ns()}", "120s"
                self.kubectl("annotate", "triggers", "--all", "--overwrite", seen)
            self.kubectl("wait", "--for=condition=Ready", kind, "--all", f"--timeout={timeout}")
            self.ready[kind] = time.monotonic() - began
        self.kubectl("wait", "--for=condition=Ready", "pod/driver", "--timeout=300s")
        self._equip_driver()

    def _equip_driver(self) -> None:
        """Put the load into the driver's pod."""
        with tempfile.TemporaryFile() as archive:
            with tarfile.open(fileobj=archive, mode="w") as tar:
                for name in ("__init__", "support/__init__", "support/load", "e2e/__init__", "e2e/driver_load"):
                    tar.add(ROOT / "tests" / f"{name}.py", f"tests/{name}.py")
            archive.seek(0)
            self.kubectl("exec", "-i", "driver", "--", "tar", "-x", "-C", "/tmp", stdin=archive)

    def have_flag(self, name: str, wanted: str) -> bool:
        """Whether Eventing has a feature flag as wanted, by itself or because the tests may set it until they end."""
        where = ("configmap", "config-features")
        before = self.get(*where, namespace="knative-eventing").get("data", {}).get(name, "disabled")
        if before == wanted:
            return True
        if self.flags != "set":
            return False

        def put(value: str) -> None:
            patch = json.dumps({"data": {name: value}})
            self.kubectl("patch", *where, "--type=merge", "--patch", patch, namespace="knative-eventing")

        put(wanted)
        self._undo.append(lambda: put(before))
        return True

    def remove(self) -> None:
        """Take everything away again, the claims and their data included."""
        for forward in self._forwards.values():
            forward.close()
        self._forwards.clear()
        while self._undo:
            self._undo.pop()()

    def _delete_namespace(self) -> None:
        """Pods are killed: there is nothing left that their drains could save."""
        self.kubectl("delete", "namespace", self.namespace, "--wait=false")
        self.kubectl(
            "delete", "pods", "--all", "--force", "--grace-period=0", "--wait=false", stderr=subprocess.DEVNULL
        )
        self.kubectl("wait", "--for=delete", f"namespace/{self.namespace}", "--timeout=600s")

    # -- ways in ------------------------------------------------------------------------------------------------

    def forward(self, service: str) -> int:
        """A local port that leads to a service ("namespace/name") until the end."""
        if service not in self._forwards:
            self._forwards[service] = Forward(self, service)
        return self._forwards[service].port

    def send_event(self, type: str, data: object, id: str, token: str = "") -> int:
        """Put an event into the broker; return the status."""
        headers = {"ce-specversion": "1.0", "ce-id": id, "ce-source": "/e2e", "ce-type": type}
        headers |= {"Content-Type": "application/json", "Host": "broker-ingress.knative-eventing.svc.cluster.local"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        url = f"http://127.0.0.1:{self.forward(self.broker)}/{self.namespace}/default"
        with urllib3.PoolManager() as pool:
            return pool.request("POST", url, body=json.dumps(data), headers=headers).status

    def facts(self) -> list[dict]:
        """The events that the recorder has seen: each lies in a Secret, before its Job has a container."""
        found = self.get("secrets", "--selector", f"{SINK}=recorder")["items"]
        return [json.loads(base64.b64decode(secret["data"]["event"])) for secret in found]

    def inside(self, *command: str, **kw) -> str:
        """What a command prints in the driver's pod, which mounts both claims and reaches the gateway."""
        return self.kubectl("exec", "driver", "--", *command, **kw).stdout.decode()

    # -- pods ---------------------------------------------------------------------------------------------------

    def pods(self, function: str) -> list[str]:
        """Names of a function's running pods that are not ending."""
        what = ["--selector", f"serving.knative.dev/service={function}", "--field-selector", "status.phase=Running"]
        found = self.get("pods", *what)["items"]
        return [f"pod/{pod['metadata']['name']}" for pod in found if not pod["metadata"].get("deletionTimestamp")]

    def ready_pods(self, function: str, revision: str = "") -> list[str]:
        """Those of `pods` that take requests, of all revisions or of one."""
        selector = f"serving.knative.dev/service={function}"
        selector += f",serving.knative.dev/revision={revision}" if revision else ""
        found = self.get("pods", "--selector", selector)["items"]
        return [f"pod/{pod['metadata']['name']}" for pod in found
                if not pod["metadata"].get("deletionTimestamp") and is_ready(pod)]  # fmt: skip

    def annotate(self, function: str, **annotations: str | None) -> None:
        """Change a function's scale, which makes a new revision; None removes an annotation."""
        self._patch(function, {AUTOSCALING + key.replace("_", "-"): value for key, value in annotations.items()})

    def roll_out(self, function: str) -> None:
        """Make a new revision like the one that is there."""
        self._patch(function, {"datastore.intertwin.eu/rollout": str(time.time_ns())})

    def _patch(self, function: str, annotations: Mapping[str, str | None]) -> None:
        patch = {"spec": {"template": {"metadata": {"annotations": annotations}}}}
        name = f"services.serving.knative.dev/{function}"
        self.kubectl("patch", name, "--type=merge", "--patch", json.dumps(patch))

    def revision(self, function: str) -> str:
        """A function's newest revision that is ready."""
        return self.get("services.serving.knative.dev", function)["status"]["latestReadyRevisionName"]

    def serving(self, function: str) -> list[str]:
        """Pods of a function that take requests and are not about to be replaced."""
        return self.ready_pods(function, self.revision(function))

    def settled(self, function: str) -> bool:
        """Whether a function's newest revision is ready and takes all requests."""
        service = self.get("services.serving.knative.dev", function)
        return service["status"].get("observedGeneration") == service["metadata"]["generation"] and is_ready(service)

    def evict(self, pod: str) -> None:
        """Ask for a pod's eviction, as a drain of its node does."""
        name = pod.removeprefix("pod/")
        body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": self.namespace}}
        path = f"/api/v1/namespaces/{self.namespace}/pods/{name}/eviction"
        self.kubectl("create", "--raw", path, "--filename", "-", input=json.dumps(body).encode())


def is_ready(object: dict) -> bool:
    """Whether an object has the condition Ready."""
    conditions = object.get("status", {}).get("conditions", ())
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def eventually(condition: Callable[[], T], timeout: float = 300.0, pause: float = 1.0) -> T:
    """Wait until `condition` holds; return what it returned."""
    deadline = time.monotonic() + timeout
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {timeout:.0f} s"
        time.sleep(pause)
    return found
