"""A store on a real cluster, as the tests see it: through Knative's gateway, and through a pod that mounts its claims.

`make e2e` sets DATASTORE_KUBECONFIG; DATASTORE_NAMESPACE, DATASTORE_IMAGE, DATASTORE_PREPROC_IMAGE, and
DATASTORE_OVERLAY, DATASTORE_GATEWAY, DATASTORE_BROKER where they differ from what stands below.
"""

from __future__ import annotations

import contextlib
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
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import urllib3
import yaml

from tests.support import ROOT
from tests.support.http_server import serving
from tests.support.manifests import KNATIVE
from tests.support.servers import Store

DRIVER = Path(__file__).with_name("driver.yaml")


@dataclass
class Cluster:
    """One namespace of a cluster, spoken to with kubectl. `gateway` and `broker` are namespace/service."""

    kubeconfig: str
    namespace: str = "datastore-e2e"
    image: str = "dev.local/dt-datastore:dev"
    preproc_image: str = "dev.local/dt-datastore-preproc:dev"
    overlay: str = "dev"
    gateway: str = "kourier-system/kourier-internal"
    broker: str = "knative-eventing/broker-ingress"
    command: str = "kubectl"
    token: str = ""
    forwards: list[subprocess.Popen] = field(default_factory=list)

    @classmethod
    def from_env(cls) -> Cluster:
        names = ("kubeconfig", "namespace", "image", "preproc_image", "overlay", "gateway", "broker")
        given = {name: os.environ.get(f"DATASTORE_{name.upper()}", "") for name in names}
        return cls(**{name: value for name, value in given.items() if value})  # type: ignore[arg-type]

    def kubectl(self, *arguments: str, namespace: str | None = None, **kw) -> subprocess.CompletedProcess:
        kw = {"check": True, "timeout": 900, "stdout": subprocess.PIPE, **kw}
        return subprocess.run(self.call(*arguments, namespace=namespace), **kw)

    def call(self, *arguments: str, namespace: str | None = None) -> list[str]:
        return [self.command, "--kubeconfig", self.kubeconfig, "--namespace", namespace or self.namespace, *arguments]

    # -- the store's life ---------------------------------------------------------------------------------------

    def kustomization(self) -> str:
        """An overlay over the chosen one, with this namespace and these images."""

        def renamed(name: str, image: str) -> dict[str, str]:
            # In the overlay below the image already has its name.
            path, _, tag = image.rpartition(":")
            return {"name": name, "newName": path, "newTag": tag}

        [base] = [yaml.safe_load((KNATIVE / "overlays" / self.overlay / "kustomization.yaml").read_text())]
        named = {entry["name"]: entry["newName"] for entry in base["images"]}
        images = {"datastore": self.image, "datastore-preproc": self.preproc_image}
        return yaml.safe_dump({
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "namespace": self.namespace,
            "resources": [f"../{self.overlay}"],
            "images": [renamed(named[name], image) for name, image in images.items() if name in named],
            "transformers": ["../../namespaced", *(["../../namespaced-oidc"] if self.overlay == "prod-oidc" else [])],
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
        """Apply the store and the tests' own objects, and wait until everything is ready."""
        self.kubectl("apply", "--filename", "-", input=self.manifests().encode())
        self.kubectl("apply", "--filename", "-", input=self.secrets().encode())
        if self.overlay == "prod-oidc":
            keys = self.kubectl("get", "--raw", "/openid/v1/jwks").stdout.decode()
            self.kubectl("create", "configmap", "datastore-issuer", f"--from-literal=jwks.json={keys}")
        self.kubectl("apply", "--filename", "-", input=DRIVER.read_text().replace("IMAGE", self.image).encode())
        for kind in ("services.serving.knative.dev", "brokers", "triggers", "sinkbindings", "pingsources"):
            self.kubectl("wait", "--for=condition=Ready", kind, "--all", "--timeout=600s")
        self.kubectl("wait", "--for=condition=Ready", "pod/driver", "--timeout=300s")

    def remove(self) -> None:
        """Take everything away again, the claims and their data included."""
        for process in self.forwards:
            process.terminate()
            process.wait(30)
        self.kubectl("delete", "namespace", self.namespace, "--timeout=600s")

    # -- ways in ------------------------------------------------------------------------------------------------

    def forward(self, service: str) -> int:
        """A local port that leads to a service ("namespace/name")."""
        namespace, _, name = service.partition("/")
        process = subprocess.Popen(
            self.call("port-forward", f"service/{name}", ":80", namespace=namespace), stdout=subprocess.PIPE, text=True
        )
        self.forwards.append(process)
        assert process.stdout
        said = process.stdout.readline()
        found = re.match(r"Forwarding from 127\.0\.0\.1:(\d+)", said)
        assert found, f"port-forward to {service}: {said!r}"
        threading.Thread(target=process.stdout.read, daemon=True).start()  # it speaks of every connection
        return int(found[1])

    def send_event(self, port: int, type: str, data: object, id: str) -> int:
        """Put an event into the broker through `port`, a forward to it; return the status."""
        headers = {"ce-specversion": "1.0", "ce-id": id, "ce-source": "/e2e", "ce-type": type}
        headers |= {"Content-Type": "application/json", "Host": "broker-ingress.knative-eventing.svc.cluster.local"}
        url = f"http://127.0.0.1:{port}/{self.namespace}/default"
        return urllib3.PoolManager().request("POST", url, body=json.dumps(data), headers=headers).status

    def facts(self) -> list[dict]:
        """The events that the recorder has seen."""
        selector = "sinks.knative.dev/job-sink-name=recorder"
        names = self.kubectl("get", "jobs", "--selector", selector, "--output", "name").stdout.decode().split()
        printed = [self.kubectl("logs", name).stdout for name in names]
        return [json.loads(text) for text in printed if text.strip()]

    def pods(self, function: str) -> list[str]:
        """Names of a function's running pods."""
        what = ["--selector", f"serving.knative.dev/service={function}", "--field-selector", "status.phase=Running"]
        return self.kubectl("get", "pods", *what, "--output", "name").stdout.decode().split()

    def annotate(self, function: str, **annotations: str) -> None:
        """Change a function's revision, which makes a new one."""
        keyed = {f"autoscaling.knative.dev/{key.replace('_', '-')}": value for key, value in annotations.items()}
        patch = {"spec": {"template": {"metadata": {"annotations": keyed}}}}
        name = f"services.serving.knative.dev/{function}"
        self.kubectl("patch", name, "--type=merge", "--patch", json.dumps(patch))

    def pull(self, into: Path) -> None:
        """Copy both claims from the inside."""
        shutil.rmtree(into, ignore_errors=True)
        into.mkdir(parents=True)
        with tempfile.TemporaryFile() as archive:
            self.kubectl("exec", "driver", "--", "tar", "-cf", "-", "-C", "/store", ".", stdout=archive)
            archive.seek(0)
            with tarfile.open(fileobj=archive) as tar:
                tar.extractall(into, filter="data")


class Relay:
    """A local URL for one function: adds the host by which Knative's gateway tells the functions apart, and a token."""

    def __init__(self, host: str, gateway: int, token: str = ""):
        credentials = {"Authorization": f"Bearer {token}"} if token else {}
        pool = urllib3.PoolManager(maxsize=64, retries=False, timeout=urllib3.Timeout(total=60))

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def forward(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0))) or None
                kept = {k: v for k, v in self.headers.items() if k.lower() not in ("host", "connection")}
                headers = kept | credentials | {"Host": host}
                try:
                    answer = pool.request(self.command, f"http://127.0.0.1:{gateway}{self.path}", body, headers=headers)
                except urllib3.exceptions.HTTPError:  # the caller sees a lost connection, as it would without us
                    self.close_connection = True
                    return
                self.send_response_only(answer.status)
                for name in ("Content-Type", "Retry-After"):
                    if name in answer.headers:
                        self.send_header(name, answer.headers[name])
                if answer.status != 204:
                    self.send_header("Content-Length", str(len(answer.data)))
                self.end_headers()
                self.wfile.write(answer.data)

            do_GET = do_POST = do_DELETE = forward

            def log_message(self, *args):
                pass

        self._serving = contextlib.ExitStack()
        port = self._serving.enter_context(serving(Handler))
        self.target, self.url = host.partition(".")[0], f"http://127.0.0.1:{port}"

    def stop(self) -> None:
        self._serving.close()


class ClusterStore(Store):
    """The split store on a cluster; its files are looked at in a copy, taken from inside the claims."""

    def __init__(self, cluster: Cluster, copy: Path):
        super().__init__("split", copy)
        self.cluster = cluster
        self.gateway = cluster.forward(cluster.gateway)
        self.processes = {
            name: Relay(f"{name}.{cluster.namespace}.svc.cluster.local", self.gateway, cluster.token)  # type: ignore[misc]
            for name in self.processes
        }

    def stop(self) -> None:
        for relay in self.processes.values():
            relay.stop()

    def files(self) -> dict[str, bytes]:
        self.cluster.pull(self.root)
        return super().files()

    def archives(self) -> list[Path]:
        self.cluster.pull(self.root)
        return [path for path in super().archives() if (path / "LogStream.json").exists()]


def eventually(condition: Callable[[], object], timeout: float = 300.0, pause: float = 1.0) -> None:
    """Wait until `condition` holds."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout:.0f} s"
        time.sleep(pause)
