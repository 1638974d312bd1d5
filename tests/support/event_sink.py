"""A sink for CloudEvents: a real HTTP server that remembers what it took, and can refuse for a while."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.support.http_server import done


class Sink:
    def __init__(self):
        self.events: list[dict] = []
        self._refuse = 0
        self._lock = threading.Lock()  # a delivery may be under way while a test sets the number
        sink = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                refused = sink._refused()
                if not refused:
                    sink.events.append(event)
                done(self, 503 if refused else 202)

            def log_message(self, *args):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @property
    def refuse(self) -> int:
        """Answer 503 to this many deliveries."""
        with self._lock:
            return self._refuse

    @refuse.setter
    def refuse(self, number: int) -> None:
        with self._lock:
            self._refuse = number

    def _refused(self) -> bool:
        with self._lock:
            refused = self._refuse > 0
            self._refuse -= refused
            return refused

    def __enter__(self) -> Sink:
        self._thread.start()
        return self

    def __exit__(self, *exc) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def distinct(self) -> list[dict]:
        """Each event once, in order of first arrival: what a killed sender was delivering comes again."""
        first: dict[tuple[str, str], dict] = {}
        for event in self.events:
            first.setdefault((event["source"], event["id"]), event)
        return list(first.values())

    def facts(self) -> list[tuple[str, dict]]:
        """(short type, data) of each distinct event."""
        return [(event["type"].rsplit(".")[-1], event["data"]) for event in self.distinct()]
