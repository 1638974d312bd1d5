"""The image's recipe, linted and read. `make cluster` builds it, without a container engine."""

from __future__ import annotations

import itertools
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support import ROOT

TEXT = (ROOT / "Dockerfile").read_text()
STAGES = {
    name: (base, body) for base, name, body in re.findall(r"^FROM (\S+) AS (\S+)\n(.*?)(?=^FROM|\Z)", TEXT, re.M | re.S)
}


def lint(path: Path) -> subprocess.CompletedProcess:
    linter = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    assert linter
    return subprocess.run([linter, "--no-color", str(path)], capture_output=True, text=True, timeout=60)


def test_the_linter_has_nothing_to_say(tmp_path):
    assert lint(ROOT / "Dockerfile").stdout == ""
    wrong = tmp_path / "Dockerfile"
    wrong.write_text(TEXT.replace("ENTRYPOINT [", "ENTRYPOINTS ["))
    assert lint(wrong).returncode != 0


def test_the_last_stage_is_the_storage_functions_and_preproc_a_target():
    assert list(STAGES)[-1] == "datastore"
    assert "preproc" in STAGES


@pytest.mark.parametrize("name", ["datastore", "preproc"])
def test_what_runs_comes_from_the_build_stages_without_their_tools(name):
    base, body = STAGES[name]
    assert base == "base"
    assert re.findall(r"COPY --from=(\S+)", body) == ["build" if name == "datastore" else "build-preproc"]
    assert "RUN" not in body
    base_image, setup = STAGES["base"]
    assert base_image == STAGES["environment"][0] == "${PYTHON_IMAGE}"
    assert re.search(r"^ARG PYTHON_IMAGE=python:[\d.]+-slim-bookworm(@sha256:[0-9a-f]{64})?$", TEXT, re.M)
    assert "apt-get" not in TEXT
    assert "USER 65532:65532" in setup


def test_the_image_serves_any_function_where_knative_wants_it():
    _, setup = STAGES["base"]
    assert 'ENTRYPOINT ["python", "-m", "shared.serve"]' in setup
    assert re.search(r"\bSERVURL=:8080\b", setup)
    assert re.search(r"\bROOT=/store\b", setup)


def locked(name: str) -> dict[str, tuple[str, int]]:
    """Package -> version and number of hashes, in a lock file."""
    found: dict[str, tuple[str, int]] = {}
    for part in re.split(r"\n(?=\S)", (ROOT / name).read_text().strip()):
        pin = re.match(r"([A-Za-z0-9_.-]+)==([^\s;]+)", part)
        assert pin, part
        found[canonicalize_name(pin[1])] = pin[2], len(re.findall(r"--hash=sha256:[0-9a-f]{64}\b", part))
    return found


def pins(lines: Iterable[str]) -> dict[str, str]:
    """Package -> version of direct pins."""
    requirements = [Requirement(text) for line in lines if (text := line.partition("#")[0].strip())]
    return {canonicalize_name(r.name): str(r.specifier).removeprefix("==") for r in requirements}


def preproc_pins() -> dict[str, str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"].get("optional-dependencies", {})
    return pins(extras.get("preproc") or (ROOT / "requirements-preproc.txt").read_text().splitlines())


LOCKS = tuple(f"requirements{kind}.lock" for kind in ("", "-preproc", "-s3", "-otel", "-build"))


@pytest.mark.parametrize("name", LOCKS)
def test_every_locked_package_has_hashes(name):
    assert locked(name)
    assert all(hashes for _, hashes in locked(name).values())


def test_the_locks_have_the_direct_pins_and_all_that_those_need():
    direct = pins((ROOT / "requirements.txt").read_text().splitlines())
    runtime, preproc = locked("requirements.lock"), locked("requirements-preproc.lock")
    s3, otel = locked("requirements-s3.lock"), locked("requirements-otel.lock")
    assert {name: runtime[name][0] for name in direct} == direct, "run `make lock`"
    assert {name: preproc[name][0] for name in preproc_pins()} == preproc_pins(), "run `make lock`"
    assert runtime.items() <= preproc.items()  # one environment: the second adds to the first
    assert runtime.items() <= s3.items()
    assert runtime.items() <= otel.items()
    for one, other in itertools.combinations((preproc, s3, otel), 2):  # an image may have all
        assert all(one[name][0] == other[name][0] for name in one.keys() & other.keys())
    assert "setuptools" in locked("requirements-build.lock")
    for name in direct:
        for needed in map(Requirement, requires(name) or ()):
            if needed.marker is None or needed.marker.evaluate({"extra": ""}):
                assert canonicalize_name(needed.name) in runtime, f"{name} needs {needed}: run `make lock`"


def test_nothing_is_installed_into_the_image_without_its_hash():
    installs = re.findall(r"pip [^&\n]*\b(?:install|wheel) [^&\n]*", TEXT.replace("\\\n", " "))
    assert len(installs) == 8
    for command in installs:
        assert "--require-hashes" in command or "--no-index" in command or "--no-build-isolation" in command


def test_all_that_is_copied_is_let_through_to_the_builder():
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for sources in re.findall(r"^COPY (?!--from)(.+) \S+$", TEXT, re.M):
        for source in sources.split():
            assert list(ROOT.glob(source))
            assert any(source == pattern or Path(source).match(pattern) for pattern in allowed), source
