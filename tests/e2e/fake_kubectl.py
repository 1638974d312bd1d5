"""A hand-written fake of kubectl: notes how it was called, and plays the cluster that a local store stands for.

The folder named by FAKE_CLUSTER holds `calls` (one JSON list a line), `gateway` (the port that a port-forward leads
to) and `store` (what the claims hold). Manifests it builds with the real thing.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path


def main() -> None:
    arguments, home = sys.argv[1:], Path(os.environ["FAKE_CLUSTER"])
    with (home / "calls").open("a") as calls:
        calls.write(json.dumps(arguments) + "\n")
    if arguments[0] == "kustomize":
        from tests.support import manifests  # which takes its time

        sys.exit(subprocess.run([*manifests.kustomize(), *arguments[1:]]).returncode)
    verb = arguments[4]  # behind --kubeconfig and --namespace with their values
    if verb == "apply":
        (home / "applied").open("a").write(sys.stdin.read() + "\n---\n")
    elif verb == "port-forward":
        port = (home / "gateway").read_text()
        print(f"Forwarding from 127.0.0.1:{port} -> 8081", flush=True)
        time.sleep(600)
    elif verb == "exec":
        command = arguments[arguments.index("--") + 1 :]
        sys.exit(subprocess.run([part.replace("/store", str(home / "store")) for part in command]).returncode)
    elif verb == "get" and arguments[5] == "jobs":
        print("job.batch/recorder1")
    elif verb == "logs":
        print('{"specversion":"1.0","type":"eu.intertwin.datastore.frozen","id":"1-1","source":"/datastore"}')


if __name__ == "__main__":
    main()
