"""The demonstration: a store, real strain streamed into it, frozen, and its spectrogram; `make demo` runs it.

Everything goes through the commands and routes that users have. The store and its data stay in `./var/demo`.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

import httpx

from client.cli import main as gwclient
from client.errors import ClientError
from client.operate import Store
from client.sources import GWOSC

_ROOT = Path(os.environ.get("ROOT") or "var/demo").resolve()
_START = 60.0  # seconds the store may take to start,
_MAKE = 180.0  # and the spectrogram to be made


def main() -> int:
    """Run the demonstration; stay until Ctrl-C, or not at all with DEMO_EXIT=1 in the environment."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    port = _free_port(int(os.environ.get("PORT") or 8080))
    url = f"http://127.0.0.1:{port}"
    _say(f"starting the store on {url}, in {_ROOT}")
    env = {**os.environ, "ROOT": str(_ROOT), "SERVURL": f"127.0.0.1:{port}", "FUNCTION_TARGET": "datastore"}
    env |= {"PREPROC": "auto", "PORT": ""}
    _ROOT.mkdir(parents=True, exist_ok=True)
    with (_ROOT / "demo.log").open("ab") as log:
        server = subprocess.Popen([sys.executable, "-m", "shared.serve"], env=env, stdout=log, stderr=log)
    try:
        _wait_for_store(server, url)
        return _run(url)
    except KeyboardInterrupt:
        _say("stopping")
        return 0
    finally:
        server.terminate()
        server.wait()


def _run(url: str) -> int:
    store = Store(url)
    if store.stat() != {"n_itm": 0, "buff_size": 0, "dstatus": "OPERATIONAL", "user": "databuf"}:
        _say("an earlier demonstration's batch is there: it goes to its archive")
        store.clean()
    if code := _stream(url):
        return code
    _say("freezing the batch; preproc makes its spectrogram in a process of its own")
    store.freeze("demo", "demo", policy=False)
    made = _wait_for_products(url)
    if made.get("verdict") != "done":
        _say(f"no spectrogram: {made}; see {_ROOT / 'demo.log'}")
        return 1
    folder = _ROOT / "datavar" / "products"
    for product in made["products"]:  # type: ignore[attr-defined]
        _say(f"  {folder / product['name']}   {url}{product['url']}")
    if os.environ.get("DEMO_EXIT"):
        return 0
    _say(f"the status page is up on {url}/ (and {url}/stat, {url}/docs ...); Ctrl-C ends it")
    while True:
        time.sleep(3600)


def _stream(url: str) -> int:
    """Stream GW150914 where open data is within reach, else the sample; decided within seconds."""
    send = ["stream", "--url", f"{url}/streamdata", "--restart"]
    try:
        httpx.get(f"{os.environ.get('GWOSC', GWOSC)}/api/v2/", timeout=4.0)
    except httpx.TransportError:
        _say("no internet: streaming the sample instead, 1 s of real Virgo strain from gwpy's wheel")
    else:
        _say("streaming GW150914 as LIGO Livingston saw it, from GWOSC's open data")
        event = ["--event", "GW150914", "--detector", "L1", "--gwosc", os.environ.get("GWOSC", GWOSC)]
        if not gwclient([*send, *event, "--inf", "13", "--sup", "16"]):
            return 0
        _say("that did not work: streaming the sample instead")
    return gwclient([*send, "--sample", "--detector", "V1"])


def _wait_for_store(server: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + _START
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise SystemExit(f"the store ended with {server.returncode}; see {_ROOT / 'demo.log'}")
        try:
            if httpx.get(f"{url}/health/readiness").is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise SystemExit(f"the store is not ready after {_START:g} s; see {_ROOT / 'demo.log'}")


def _wait_for_products(url: str) -> dict[str, object]:
    deadline = time.monotonic() + _MAKE
    while True:
        made: dict[str, object] = httpx.get(f"{url}/products").json()
        if made["verdict"] != "none" or time.monotonic() > deadline:
            return made
        time.sleep(0.2)


def _free_port(wanted: int) -> int:
    for port in (wanted, 0):
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                _say(f"port {wanted} is taken; using another")
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
