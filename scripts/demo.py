"""The demonstration: a store, real strain streamed into it, a freeze, and its spectrogram. `make demo` runs it.

It uses only commands and routes that users have. The store and its data stay in ROOT (`./var/demo`); SERVURL or PORT
choose the address.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

from gwclient.cli import main as gwclient
from gwclient.errors import ClientError
from gwclient.sources import GWOSC
from gwclient.store import Store

_ROOT = Path(os.environ.get("ROOT") or "var/demo").resolve()
_GWOSC = os.environ.get("GWOSC", GWOSC)
_START_TIMEOUT = 120.0  # seconds
_PRODUCTS_TIMEOUT = 180.0  # seconds
_LOCAL = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "[::1]", "[::]": "[::1]"}  # noqa: S104


def main() -> int:
    """Run the demonstration and stay until Ctrl-C; with DEMO_EXIT=1 in the environment, end after the spectrogram."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    _ROOT.mkdir(parents=True, exist_ok=True)
    lock = _lock()
    host, port = _address()
    url = f"http://{_LOCAL.get(host, host)}:{port}"
    _say(f"starting the store on {url}, in {_ROOT}")
    env = {**os.environ, "ROOT": str(_ROOT), "SERVURL": f"{host}:{port}", "PORT": ""}
    env |= {"FUNCTION_TARGET": "datastore", "PREPROC": "auto"}
    with (_ROOT / "demo.log").open("ab") as log:
        # The server inherits the lock, so that it is held as long as either process uses the folder.
        command = [sys.executable, "-m", "shared.serve"]
        server = subprocess.Popen(command, env=env, stdout=log, stderr=log, pass_fds=[lock.fileno()])
    print(f"on {url}: end it with Ctrl-C, or `kill {server.pid}`", file=lock, flush=True)
    try:
        _wait_for_store(server, url)
        return _run(url)
    except KeyboardInterrupt:
        _say("stopping")
        return 0
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):  # a second one would leave the server behind
            signal.signal(number, signal.SIG_IGN)
        server.terminate()
        server.wait()


def _run(url: str) -> int:
    store = Store(url)
    if store.stat() != {"n_itm": 0, "buff_size": 0, "dstatus": "OPERATIONAL", "user": "databuf"}:
        _say("the batch of an earlier demonstration is archived first")
        store.clean()
    if code := _stream(url):
        return code
    _say("freezing the batch; preproc makes its spectrogram in a process of its own")
    store.freeze("demo", "demo", policy=False)
    listing = _wait_for_products(url)
    if listing["verdict"] != "done":
        _say(f"no spectrogram ({listing['verdict']}); see {_ROOT / 'demo.log'}")
        return 1
    folder = _ROOT / "datavar" / "products"
    for product in listing["products"]:
        _say(f"  {folder / product['name']}   {url}{product['url']}")
    if os.environ.get("DEMO_EXIT"):
        return 0
    _say(f"the status page is on {url}/ (and {url}/stat, {url}/docs ...); Ctrl-C ends the demonstration")
    while True:
        time.sleep(3600)


def _stream(url: str) -> int:
    """Stream GW150914 if GWOSC answers within seconds, otherwise the sample."""
    send = ["stream", "--url", f"{url}/streamdata", "--restart"]
    try:
        urllib.request.urlopen(f"{_GWOSC}/api/v2/", timeout=4.0).close()
    except (OSError, ValueError):
        _say("no internet: streaming the sample instead, 1 s of real Virgo strain from gwpy's wheel")
    else:
        _say("streaming GW150914 as LIGO Livingston recorded it, from GWOSC's open data")
        event = ["--event", "GW150914", "--detector", "L1", "--gwosc", _GWOSC]
        if not gwclient([*send, *event, "--inf", "13", "--sup", "16"]):
            return 0
        _say("that failed: streaming the sample instead")
    return gwclient([*send, "--sample", "--detector", "V1"])


def _wait_for_store(server: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + _START_TIMEOUT
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise SystemExit(f"the store ended with {server.returncode}; see {_ROOT / 'demo.log'}")
        try:
            urllib.request.urlopen(f"{url}/health/readiness", timeout=5.0).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise SystemExit(f"the store is not ready after {_START_TIMEOUT:g} s; see {_ROOT / 'demo.log'}")


def _wait_for_products(url: str) -> dict[str, Any]:
    deadline = time.monotonic() + _PRODUCTS_TIMEOUT
    while True:
        with urllib.request.urlopen(f"{url}/products", timeout=30.0) as response:
            listing: dict[str, Any] = json.load(response)
        if listing["verdict"] != "none" or time.monotonic() > deadline:
            return listing
        time.sleep(0.2)


def _lock() -> TextIO:
    """Lock the folder, because two stores in one folder would wait for each other."""
    lock = (_ROOT / "demo.lock").open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        raise SystemExit(
            f"a demonstration is running in {_ROOT}, {lock.read().strip()}. For another one give ROOT=."
        ) from None
    lock.truncate(0)
    return lock


def _address() -> tuple[str, int]:
    """The host and port of SERVURL and PORT, or a free port of this machine if neither is set and 8080 is taken."""
    host, _, port = os.environ.get("SERVURL", "").rpartition(":")
    port = os.environ.get("PORT") or port
    if not port:
        return "127.0.0.1", _free_port(8080)
    if not (port.isascii() and port.isdecimal()):
        raise SystemExit(f"SERVURL={os.environ.get('SERVURL')!r}: must be host:port or :port")
    return (host if "SERVURL" in os.environ else "127.0.0.1"), int(port)


def _free_port(wanted: int) -> int:
    for port in (wanted, 0):
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                _say(f"port {wanted} is taken; another one is used. SERVURL= chooses one.")
                continue
            return int(s.getsockname()[1])
    raise SystemExit("no free port")


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ClientError as error:
        sys.exit(str(error))
