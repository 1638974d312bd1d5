"""Pods as Serving makes them, without a cluster: a network and a mount namespace with the function, the real
queue-proxy before it, and the claims and the environment of its manifest. The hosts in there are found in a file."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.support import ROOT
from tests.support.manifests import TOOLS
from tests.support.servers import Process

SUBNET = "10.88.0"
QUEUE = TOOLS / "queue"


def missing() -> str:
    """What keeps pods from being made here, in words; empty if nothing does."""
    if os.environ.get("KNATIVE_NODE") != "1":
        return "needs namespaces of its own: run `make test-knative`"
    absent = [name for name in ("ip", "unshare", "nsenter", "mount") if shutil.which(name) is None]
    return f"needs {', '.join(absent)}" if absent else ("" if QUEUE.exists() else f"needs {QUEUE}")


def run(*command: str) -> None:
    subprocess.run(command, check=True, timeout=30)


class Node:
    """The network the pods share. Only inside a network namespace made for the tests."""

    def __init__(self):
        self._last = 1
        run("ip", "link", "add", "pods", "type", "bridge")
        run("ip", "addr", "add", f"{SUBNET}.1/24", "dev", "pods")
        run("ip", "link", "set", "pods", "up")

    def number(self) -> int:
        self._last += 1
        return self._last

    def remove(self) -> None:
        run("ip", "link", "del", "pods")


class Pod(Process):
    """A function behind its queue-proxy, mounted and limited as its Knative Service says."""

    def __init__(self, node: Node, service: dict, env: dict[str, str], hosts: Path, **settings: str):
        name = service["metadata"]["name"]
        super().__init__(name, env, 8080)
        self.service, self.hosts, self.settings = service, hosts, settings
        self.number = node.number()
        self.log = self.log.with_name(f"{name}-{self.number}.log")
        self.proxy_log = self.log.with_name(f"{name}-{self.number}-proxy.log")
        self.proxy: subprocess.Popen | None = None
        self._sandbox: subprocess.Popen | None = None

    @property
    def url(self) -> str:
        return f"http://{SUBNET}.{self.number}:80"

    @property
    def host(self) -> str:
        """A line that says where its host in the cluster is."""
        return f"{SUBNET}.{self.number} {self.target}.datastore.svc.cluster.local\n"

    # -- life -------------------------------------------------------------------------------------------------------

    def start(self, wait="/health/liveness", **env: str) -> Pod:
        """Begin, or begin again with the container that was killed."""
        if self._sandbox is None:
            self._make_sandbox()
        spec = self.service["spec"]["template"]["spec"]
        of_manifest = {entry["name"]: entry["value"] for entry in spec["containers"][0]["env"]}
        # The Secrets are not mounted here: authentication is tried where the functions run without a proxy.
        of_manifest = {key: value for key, value in of_manifest.items() if not key.startswith("AUTH_")}
        own = {key: value for key, value in self.env.items() if key != "ROOT"}
        of_image = {"ROOT": "/mnt/store", "SERVURL": ":8080", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(ROOT)}
        of_image |= {"TMPDIR": "/mnt/tmp", "HOME": "/mnt/tmp"}
        whole = {**of_image, **of_manifest, **own, "PORT": "8080", **env}
        self._process = self._inside(self.log, [sys.executable, "-W", "ignore", "-m", "shared.serve"], whole, cwd=ROOT)
        if self.proxy is None:
            self._start_proxy(spec)
        if wait:
            self.wait(wait)
        return self

    def stop(self) -> None:
        super().stop()
        for process in (self.proxy, self._sandbox):
            if process is not None and process.poll() is None:
                process.kill()
                process.wait()
        self.proxy = self._sandbox = None

    def drain(self, timeout=120.0) -> None:
        """As Serving ends a pod: the proxy is told first, and the function once the proxy has finished."""
        assert self.proxy
        self.proxy.terminate()
        assert self.proxy.wait(timeout) == 0, self.proxy_text()
        self.process.terminate()
        assert self.process.wait(timeout) == 0, self.text()

    def run(self, *command: str) -> int:
        """Run a command where the function runs; return its exit code."""
        assert self._sandbox
        enter = ["nsenter", "--target", str(self._sandbox.pid), "--mount"]
        return subprocess.run([*enter, *command], stderr=subprocess.DEVNULL, timeout=30).returncode

    def proxy_text(self) -> str:
        return self.proxy_log.read_text()

    # -- parts ------------------------------------------------------------------------------------------------------

    def _inside(self, log: Path, command: list[str], env: dict[str, str], **kw) -> subprocess.Popen:
        assert self._sandbox
        clean = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "LANG", "TMPDIR")}
        enter = ["nsenter", "--target", str(self._sandbox.pid), "--net", "--mount", f"--wdns={kw.pop('cwd', ROOT)}"]
        with log.open("ab") as file:
            return subprocess.Popen([*enter, *command], env={**clean, **env}, stdout=file, stderr=file)

    def _make_sandbox(self) -> None:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self._sandbox = subprocess.Popen(
            ["unshare", "--net", "--mount", "sh", "-c", "echo ready; exec sleep infinity"], stdout=subprocess.PIPE
        )
        assert self._sandbox.stdout
        assert self._sandbox.stdout.readline() == b"ready\n"
        self._sandbox.stdout.close()
        end, inner = f"pod{self.number}", ["nsenter", "--target", str(self._sandbox.pid), "--net", "--mount"]
        run("ip", "link", "add", end, "type", "veth", "peer", "name", "eth0", "netns", str(self._sandbox.pid))
        run("ip", "link", "set", end, "master", "pods", "up")
        run(*inner, "ip", "link", "set", "lo", "up")
        run(*inner, "ip", "addr", "add", f"{SUBNET}.{self.number}/24", "dev", "eth0")
        run(*inner, "ip", "link", "set", "eth0", "up")
        run(*inner, "sh", "-euc", "\n".join(self._mounts()))

    def _mounts(self) -> list[str]:
        """The claims where the manifest wants them (below /mnt, which every machine has), the rest read-only."""
        spec = self.service["spec"]["template"]["spec"]
        claims = {v["name"]: v["persistentVolumeClaim"] for v in spec["volumes"] if "persistentVolumeClaim" in v}
        steps = ["mount --make-rprivate /", f"mount --bind '{self.hosts}' /etc/hosts", "mount -t tmpfs tmpfs /mnt"]
        for mount in spec["containers"][0]["volumeMounts"]:
            target = f"/mnt{mount['mountPath']}"
            steps.append(f"mkdir -p '{target}'")
            if (claim := claims.get(mount["name"])) is None:
                steps.append(f"mount -t tmpfs tmpfs '{target}'")
                continue
            source = Path(self.env["ROOT"]) / claim["claimName"]
            source.mkdir(exist_ok=True)
            steps.append(f"mount --bind '{source}' '{target}'")
            if mount.get("readOnly"):
                steps.append(f"mount -o remount,bind,ro '{target}'")
        return [*steps, "mount -o remount,ro /mnt", "mount -o remount,bind,ro /"]

    def _start_proxy(self, spec: dict) -> None:
        probe = {"httpGet": {**spec["containers"][0]["readinessProbe"]["httpGet"], "host": "127.0.0.1", "port": 8080}}
        template = "{{.Response.Code}} {{.Request.Method}} {{.Request.RequestURI}}"
        env = {
            "CONTAINER_CONCURRENCY": str(spec["containerConcurrency"]),
            "REVISION_TIMEOUT_SECONDS": str(spec["timeoutSeconds"]),
            "QUEUE_SERVING_PORT": "80",  # 8012 behind a service in a cluster; here the host is the pod's
            "QUEUE_SERVING_TLS_PORT": "8112",
            "USER_PORT": "8080",
            "SERVING_READINESS_PROBE": json.dumps({**probe, "successThreshold": 1}),
            "SERVING_NAMESPACE": "datastore",
            "SERVING_SERVICE": self.target,
            "SERVING_CONFIGURATION": self.target,
            "SERVING_REVISION": f"{self.target}-00001",
            "SERVING_POD": f"{self.target}-{self.number}",
            "SERVING_POD_IP": f"{SUBNET}.{self.number}",
            "SERVING_LOGGING_CONFIG": "",
            "SERVING_LOGGING_LEVEL": "error",
            "OBSERVABILITY_CONFIG": json.dumps({"enableRequestLog": True, "requestLogTemplate": template}),
            **self.settings,
        }
        self.proxy = self._inside(self.proxy_log, [str(QUEUE)], env)
