"""A hand-written fake of the little of a Kubernetes API server that `func deploy` speaks to: it takes Knative
Services, says that they are ready, and remembers them."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

READY = [{"type": "Ready", "status": "True"}, {"type": "ConfigurationsReady", "status": "True"}]


class FakeCluster:
    def __init__(self):
        self.services: dict[str, dict] = {}  # by namespace/name, as they were sent
        self.asked: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def __enter__(self) -> FakeCluster:
        self._thread.start()
        return self

    def __exit__(self, *exc) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def kubeconfig(self, folder: Path) -> Path:
        """A kubeconfig for this cluster, written into `folder`."""
        url = f"http://127.0.0.1:{self._server.server_address[1]}"
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "fake", "cluster": {"server": url}}],
            "users": [{"name": "fake", "user": {}}],
            "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "fake", "namespace": "default"}}],
            "current-context": "fake",
        }
        path = folder / "kubeconfig"
        path.write_text(json.dumps(config))
        return path

    def answer(self, method: str, path: str, body: dict) -> tuple[int, dict]:
        parts = path.split("?", maxsplit=1)[0].strip("/").split("/")
        if parts[:2] == ["apis", "serving.knative.dev"] and "namespaces" in parts:
            namespace, kind, *name = parts[4:]
            if kind == "services" and method == "POST":
                name = [body["metadata"]["name"]]
                self.services[f"{namespace}/{name[0]}"] = body
            found = self.services.get(f"{namespace}/{name[0]}") if name else None
            if kind in ("services", "routes") and found:
                host = f"http://{name[0]}.{namespace}.example.org"
                status = {"conditions": READY, "url": host, "observedGeneration": 1}
                meta = {**found["metadata"], "namespace": namespace, "generation": 1, "resourceVersion": "1"}
                return 201 if method == "POST" else 200, {**found, "metadata": meta, "status": status}
        if method == "GET" and parts[-1] in ("secrets", "pods", "serviceaccounts"):
            return 200, {"kind": "List", "apiVersion": "v1", "metadata": {}, "items": []}
        if parts[-1] == "default" and parts[-2] == "serviceaccounts":
            return 200, {"kind": "ServiceAccount", "apiVersion": "v1", "metadata": {"name": "default"}}
        return 404, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}

    def _handler(self):
        cluster = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self):
                sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                body = json.loads(sent) if sent.startswith(b"{") else {}  # the rest is protobuf, and not for us
                cluster.asked.append(f"{self.command} {self.path}")
                status, answer = cluster.answer(self.command, self.path, body)
                text = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST = do_PUT = do_PATCH = handle_any

            def log_message(self, *args):
                pass

        return Handler
