"""Command line: `python -m gwflight`, by the variables STORE_URL and FLIGHT_LISTEN."""

from __future__ import annotations

import os
import signal
import sys

_ENDING = {signal.SIGTERM, signal.SIGINT}


def run() -> None:
    """Serve until SIGTERM or Ctrl-C."""
    try:
        from gwflight.server import Server
    except ImportError:
        sys.exit("Arrow Flight needs pyarrow: pip install '.[flight]' in a checkout")
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)  # before the server has threads
    server = Server(
        os.environ.get("FLIGHT_LISTEN") or "grpc://127.0.0.1:31206",
        os.environ.get("STORE_URL") or "http://127.0.0.1:8080",
    )
    print(f"serving Arrow Flight on port {server.port}", flush=True)
    signal.sigwait(_ENDING)
    server.shutdown()


if __name__ == "__main__":
    run()
