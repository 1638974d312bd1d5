"""The cluster's objects of some kinds, kept up to date by the API server's watches. Standard library only."""

from __future__ import annotations

import http.client
import json
import ssl
import threading
import time
from pathlib import Path
from typing import Any

Object = dict[str, Any]


class Gone(OSError):
    """The object is not there."""


class Api:
    """HTTP to the API server of the node whose certificates are in `pki`.

    Raises:
        OSError: from every method, if the API server does not answer as it should.
    """

    def __init__(self, pki: Path, port: int = 6443) -> None:
        self.port = port
        self.tls = ssl.create_default_context(cafile=str(pki / "ca.crt"))
        self.tls.load_cert_chain(pki / "admin.crt", pki / "admin.key")

    def open(self, method: str, path: str, body: Object | None = None) -> http.client.HTTPResponse:
        """The response to one request on a connection of its own."""
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=self.tls, timeout=600)
        content = None if body is None else json.dumps(body)
        try:
            connection.request(method, path, content, {"Content-Type": "application/json"})
            response = connection.getresponse()
        except http.client.HTTPException as error:
            raise OSError(f"{method} {path}: {error!r}") from error
        if response.status >= 300:
            kind = Gone if response.status == 404 else OSError
            raise kind(f"{method} {path}: {response.status} {response.read(500).decode(errors='replace')}")
        return response

    def ask(self, method: str, path: str, body: Object | None = None) -> Object:
        """The object that answers one request."""
        answer: Object = json.load(self.open(method, path, body))
        return answer


class Watched:
    """The objects at each path of `paths`, in the memory of this process. `changed` is set when one of them changes."""

    def __init__(self, api: Api, paths: list[str]) -> None:
        self.api = api
        self.changed = threading.Event()
        self.found: dict[str, dict[str, Object]] = {}
        for path in paths:
            threading.Thread(target=self._follow, args=(path,), daemon=True).start()
        self.paths = paths

    def complete(self) -> bool:
        """True as soon as every path has been read once."""
        return len(self.found) == len(self.paths)

    def __getitem__(self, path: str) -> list[Object]:
        return list(self.found[path].values())

    def _follow(self, path: str) -> None:
        while True:
            try:
                answer = self.api.ask("GET", path)
                self.found[path] = {item["metadata"]["uid"]: item for item in answer["items"]}
                self.changed.set()
                self._watch(path, answer["metadata"]["resourceVersion"])
            except (OSError, http.client.HTTPException, ValueError) as error:
                print(f"watching {path} begins again: {error}", flush=True)
                time.sleep(1)

    def _watch(self, path: str, version: str) -> None:
        # The server ends a watch before the connection's timeout does.
        with self.api.open("GET", f"{path}?watch=1&timeoutSeconds=300&resourceVersion={version}") as events:
            for line in events:
                event = json.loads(line)
                if event["type"] == "ERROR":  # the version is too old
                    return
                one = event["object"]
                # A copy, because the other thread may be reading.
                objects = {uid: item for uid, item in self.found[path].items() if uid != one["metadata"]["uid"]}
                if event["type"] != "DELETED":
                    objects[one["metadata"]["uid"]] = one
                self.found[path] = objects
                self.changed.set()
