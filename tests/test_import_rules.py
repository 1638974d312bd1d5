"""The import rules in pyproject.toml: they hold, and a violation of each is found."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.support import ROOT

CONTRACTS = [
    c["name"] for c in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
]

# Each breaks one rule and no other.
VIOLATIONS = [
    ("shared is layered", "shared/domain/livetime.py", "import shared.metrics"),
    ("shared is layered", "shared/storage/reader.py", "import shared.ingest.spool_writer"),
    ("shared is layered", "shared/a_new_package/__init__.py", ""),
    ("what serves knows nothing of what stores", "shared/web/wsgi.py", "import shared.storage.reader"),
    ("what stores knows nothing of what serves", "shared/storage/outbox.py", "import shared.clients.http"),
    ("GlitchflowAPI and Logic load no storage code", "functions/logic/status.py", "import shared.logic.in_process"),
    ("only the composition root knows other functions", "functions/stats/main.py", "import functions.files.main"),
    ("the library and the client stand alone", "shared/serve/__main__.py", "import functions.glitchflow.pages"),
    ("the library and the client stand alone", "gwclient/upload.py", "import shared.failpoints"),
    ("the library and the client stand alone", "gwflight/store.py", "import shared.failpoints"),
    ("libraries have one home", "shared/clients/writer.py", "import pyreqwest"),
]


def lint(folder: Path) -> tuple[int, dict[str, str]]:
    """Run lint-imports on a tree; return its exit code, and the verdict on each contract."""
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    return done.returncode, dict(re.findall(r"^(.+?) (KEPT|BROKEN)\b", done.stdout, re.MULTILINE))


@pytest.fixture
def tree(tmp_path) -> Path:
    """A copy of the source."""
    for package in ("shared", "functions", "gwclient", "gwflight"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__", "static"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_the_rules_hold(tree):
    assert lint(tree) == (0, dict.fromkeys(CONTRACTS, "KEPT"))


@pytest.mark.parametrize(("contract", "path", "line"), VIOLATIONS)
def test_a_violation_is_found_and_named(tree, contract, path, line):
    (tree / path).parent.mkdir(exist_ok=True)
    with (tree / path).open("a") as file:
        file.write(f"\n{line}\n")
    code, verdicts = lint(tree)
    assert code != 0
    assert {name for name, verdict in verdicts.items() if verdict == "BROKEN"} == {contract}


def test_every_rule_has_a_violation_here():
    assert {contract for contract, _, _ in VIOLATIONS} == set(CONTRACTS)
