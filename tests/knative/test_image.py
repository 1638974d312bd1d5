"""The image's recipe. It is not built here, for want of a container engine: it is linted, and read."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

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
    assert base_image.startswith("python:")
    assert base_image.endswith("-slim-bookworm")
    assert "apt-get" not in TEXT
    assert "USER 65532:65532" in setup


def test_the_image_serves_any_function_where_knative_wants_it():
    _, setup = STAGES["base"]
    assert 'ENTRYPOINT ["python", "-m", "shared.serve"]' in setup
    assert re.search(r"\bSERVURL=:8080\b", setup)
    assert re.search(r"\bROOT=/store\b", setup)


def test_all_that_is_copied_is_let_through_to_the_builder():
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for sources in re.findall(r"^COPY (?!--from)(.+) \S+$", TEXT, re.M):
        for source in sources.split():
            assert list(ROOT.glob(source))
            assert any(source == pattern or Path(source).match(pattern) for pattern in allowed), source
