"""The field's clients, each in the virtual environment that `make client-venvs` made; tests are skipped without it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support import ROOT

VENVS = ROOT / os.environ.get("CLIENT_VENVS", "build/venvs")  # an absolute path stays as it is


def python(name: str) -> Path:
    return VENVS / name / "bin" / "python"


def needs_client(name: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not python(name).exists(), reason=f"needs the clients in {VENVS}: make client-venvs")


def run_client(name: str, script: str, folder: Path, arguments: Any = None, **environment: str) -> Any:
    """Run a script by a client's interpreter: there `given` is `arguments`, and what it puts into `result` comes back.

    Args:
        folder: working directory and home, so that no cache is shared.
        environment: variables besides PATH and HOME.
    """
    code = f"import json, sys\ngiven, result = json.loads(sys.argv[1]), {{}}\n{script}\nprint(json.dumps(result))"
    command = [str(python(name)), "-W", "ignore", "-c", code, json.dumps(arguments)]
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), "MPLCONFIGDIR": str(folder), **environment}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return json.loads(done.stdout.splitlines()[-1])
