"""A hand-written fake of kubectl: notes how it was called, and plays the cluster that a local store stands for.

The folder named by FAKE_CLUSTER holds `calls` (one JSON list a line), `gateway` (where a port-forward leads to),
`store` (what the claims hold), and `changes`, with which the next copy of them fails. Manifests it builds with the real
thing.
"""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

VIA = "http://kourier-internal.kourier-system.svc.cluster.local"


def _replaced(part: str, replaced: dict[str, str]) -> str:
    """A part of a command that runs in the driver's pod, as it must be to run here."""
    if part in replaced:
        return replaced[part]
    return re.sub("/store|/tmp", lambda found: replaced[found[0]], part)


def main() -> None:
    arguments, home = sys.argv[1:], Path(os.environ["FAKE_CLUSTER"])
    with (home / "calls").open("a") as calls:
        calls.write(json.dumps(arguments) + "\n")
    if arguments[0] == "kustomize":
        from tests.support import manifests  # which takes its time

        sys.exit(subprocess.run([*manifests.kustomize(), *arguments[1:]]).returncode)
    verb = arguments[4]  # behind --kubeconfig and --namespace with their values
    if verb == "apply":
        (home / "applied").open("a").write(sys.stdin.read() + "\n--- applied\n")
    elif verb == "port-forward":
        port = (home / "gateway").read_text()
        print(f"Forwarding from 127.0.0.1:{port} -> 8081", flush=True)
        time.sleep(600)
    elif verb == "exec":
        (home / "tmp").mkdir(exist_ok=True)
        replaced = {"/store": str(home / "store"), "/tmp": str(home / "tmp"), "python": sys.executable}
        if (home / "gateway").exists():
            replaced[VIA] = f"http://127.0.0.1:{(home / 'gateway').read_text()}"
        command = arguments[arguments.index("--") + 1 :]
        if command[0] == "tar" and (changes := home / "changes").exists():
            changes.unlink()
            sys.exit("tar: ./datavar/.products.next: file removed before we read it")
        os.execvp(command[0], [_replaced(part, replaced) for part in command])
    elif verb == "get" and arguments[5] == "secrets":
        event = b'{"specversion":"1.0","type":"eu.intertwin.datastore.frozen","id":"1-1","source":"/datastore"}'
        print(json.dumps({"items": [{"data": {"event": base64.b64encode(event).decode()}}]}))


if __name__ == "__main__":
    main()
