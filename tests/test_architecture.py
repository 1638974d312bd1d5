"""The rules the source is built by, checked on the source itself."""

from __future__ import annotations

import ast
import functools
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from shared import errors, failpoints
from shared.web.error_responses import ERROR_RESPONSES
from tests.support import ROOT

FUNCTIONS = sorted(path.parent.name for path in ROOT.glob("functions/*/main.py"))
SHARED = sorted(str(path.relative_to(ROOT / "shared")) for path in (ROOT / "shared").rglob("*.py"))
pytestmark = pytest.mark.xdist_group("architecture")  # they look at the same files
SCIENTIFIC = {"numpy", "scipy", "gwpy", "matplotlib", "h5py", "astropy", "pyarrow", "nanoarrow"}


def test_the_rules_look_at_the_whole_source():
    # A rule over no files holds always: whoever moves the source must not empty them.
    assert len(SHARED) >= 50
    assert len(FUNCTIONS) >= 11


@pytest.mark.skipif("PYTEST_XDIST_WORKER" not in os.environ, reason="tests are grouped where several run at once")
def test_tests_of_one_group_run_in_one_process(request):
    assert request.node.nodeid.endswith("@architecture"), "pass --dist loadgroup with -n, as `make test` does"


@functools.cache
def imported(path: Path) -> set[str]:
    """Every module a source file names in an import, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def test_no_file_imports_one_that_imports_it():
    """Through however many others, and inside functions too; packages' faces only hand names on."""
    module_of = {f"shared.{name.removesuffix('.py').replace('/', '.')}": name for name in SHARED}
    known = {
        name: {module_of[found] for found in imported(ROOT / "shared" / name) if found in module_of} for name in SHARED
    }
    below = known
    while (
        deeper := {name: set().union(below[name], *(below[one] for one in below[name])) for name in SHARED}
    ) != below:
        below = deeper
    assert len([name for name in SHARED if known[name]]) > 50
    assert [name for name in SHARED if name in below[name]] == []


def top(names: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in names}


def users(module: str) -> set[str]:
    return {name for name in SHARED if module in top(imported(ROOT / "shared" / name))}


@functools.cache
def loaded_by(name: str) -> set[str]:
    """Modules in an interpreter that has imported a function."""
    code = f"import functions.{name}.main, sys; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-W", "ignore", "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    modules = set(found.stdout.split())
    assert f"functions.{name}.main" in modules
    return modules


def modules_of(name: str) -> set[str]:
    """Top-level modules in an interpreter that has imported a function."""
    return top(loaded_by(name))


@pytest.mark.parametrize(
    "name", ["ingest", "writer", "stats", "files", "logdump", "freeze", "cleanall", "strain", "datasets", "datastore"]
)
def test_a_storage_function_starts_without_scientific_packages(name):
    assert not modules_of(name) & SCIENTIFIC


@pytest.mark.parametrize("name", ["ingest", "files", "strain", "logic", "datastore"])
def test_a_function_starts_without_the_readers_of_blocks(name):
    # The first block imports them; most stores see none.
    modules = loaded_by(name)
    assert "shared.domain.block" in modules
    assert not modules & {"shared.domain.arrow_block", "shared.domain.arrow_stream", "shared.domain.line_block"}
    assert not top(modules) & {"pyarrow", "nanoarrow"}


@pytest.mark.parametrize("name", ["stats", "files", "logdump", "strain"])
def test_a_function_that_asks_nobody_starts_without_an_http_client(name):
    assert not modules_of(name) & {"pyreqwest", "urllib3", "httpx", "aiohttp"}


def packages_of(name: str) -> set[str]:
    """Packages of the library in an interpreter that has imported a function."""
    return {".".join(module.split(".")[:2]) for module in loaded_by(name) if module.startswith("shared.")}


@pytest.mark.parametrize("name", ["logic", "glitchflow"])
def test_a_function_in_front_of_the_store_loads_no_storage_code(name):
    packages = packages_of(name)
    assert "shared.clients" in packages
    assert not packages & {"shared.storage", "shared.ingest", "shared.volume", "shared.strain", "shared.preproc"}
    assert "shared.storage" in packages_of("writer")  # the rule does see such code


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_do_not_know_each_other(name):
    others = {m.split(".")[1] for m in imported(ROOT / "functions" / name / "main.py") if m.startswith("functions.")}
    if name == "datastore":  # the composition root
        assert others
    else:
        assert others <= {name}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_is_small_and_its_target_has_its_name(name):
    source = (ROOT / "functions" / name / "main.py").read_text()
    assert len(source.splitlines()) <= 100
    assigned = {t.id for node in ast.parse(source).body if isinstance(node, ast.Assign)
                for t in node.targets if isinstance(t, ast.Name)}  # fmt: skip
    assert name in assigned


def test_one_module_knows_each_web_framework():
    # serve, which launches their servers, is no part of what a function is made of.
    assert users("flask") == {"web/wsgi.py", "serve/__main__.py", "serve/gunicorn_server.py"}
    assert users("starlette") == {"web/asgi.py", "serve/connection.py", "serve/uvicorn_server.py"}
    assert users("uvicorn") == {"serve/connection.py", "serve/uvicorn_server.py"}
    assert users("gunicorn") == {"serve/gunicorn_server.py"}
    for name in FUNCTIONS:
        assert not top(imported(ROOT / "functions" / name / "main.py")) & {"flask", "starlette", "uvicorn", "gunicorn"}


def test_one_module_knows_the_events_library():
    assert users("cloudevents") == {"events.py"}


def test_one_module_knows_the_http_client():
    assert users("pyreqwest") == {"clients/http.py"}
    assert not users("urllib3") | users("httpx")  # the tests' and the command line's


def test_one_module_needs_posix():
    assert users("fcntl") == {"volume/posix.py"}


def test_only_processes_of_their_own_are_scientific():
    # Each is the program of a process, or imported by one alone; no function loads it.
    importers_of = {
        "preproc/spectrogram.py": {"preproc/transforms.py"},
        "preproc/overview.py": {"preproc/job.py"},
        "strain/formats/hdf5.py": set(),
        "datasets/qtransform.py": {"datasets/events.py", "datasets/layouts.py", "datasets/making.py"},
        "datasets/layouts.py": {"datasets/making.py"},
        "datasets/making.py": {"datasets/job.py"},
        "datasets/events.py": {"datasets/making.py", "datasets/qtransform.py"},
    }
    assert set().union(*map(users, SCIENTIFIC)) <= set(importers_of)
    for name, allowed in importers_of.items():
        assert (ROOT / "shared" / name).exists()
        module = f"shared.{name.removesuffix('.py').replace('/', '.')}"
        assert {path for path in SHARED if module in imported(ROOT / "shared" / path)} <= allowed


def test_the_environment_is_read_by_the_configuration_alone():
    readers = {name for name in SHARED if "os.environ" in (ROOT / "shared" / name).read_text()}
    # serve picks the function before there is a configuration; failpoints are for tests.
    assert {name for name in readers if not name.startswith("config/")} == {"serve/__main__.py", "failpoints.py"}


def test_every_error_has_a_code_and_a_status_of_its_own():
    declared: set[Any] = {
        error for error in vars(errors).values() if isinstance(error, type) and issubclass(error, Exception)
    }
    kinds = {errors.DatastoreError, errors.Rejected, errors.Unavailable}
    assert set(ERROR_RESPONSES) == declared - kinds | {Exception}
    assert all(error.code != errors.DatastoreError.code for error in declared - kinds)
    for error in declared - kinds:  # a code that crosses HTTP comes back as an error with this code
        assert getattr(errors.error_from_code(error.code, ""), "code", "") == error.code
    assert errors.error_from_code("BUSY", "").__class__ is errors.Busy  # and not OutcomeUnknown
    assert errors.error_from_code(errors.DatastoreError.code, "") is None


def test_failpoints_are_those_that_stand_in_the_code():
    used: set[object] = set()
    for path in (ROOT / "shared").rglob("*.py"):
        for call in (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)):
            constants = {arg.value for arg in call.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)}
            name = getattr(call.func, "id", getattr(call.func, "attr", ""))
            if name == "failpoint":
                used |= constants
            elif name == "append":  # posix.AppendFile.append(buffers, name) stands before and after its sync
                used |= {f"{constant}.{when}" for constant in constants for when in ("written", "synced")}
            used |= {
                k.value.value for k in call.keywords if k.arg == "before_rename" and isinstance(k.value, ast.Constant)
            }
    assert used == failpoints.NAMES


def test_commands_name_modules_that_exist():
    places = [ROOT / "Makefile", ROOT / "Dockerfile", ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
    places += [path for folder in ("docs", "knative", ".ci", "bench", "tests") for path in (ROOT / folder).rglob("*")]
    named = set()
    for path in places:
        if path.suffix in ("", ".md", ".py", ".yaml", ".sh") and path.is_file():
            text = path.read_text(errors="ignore")
            named |= set(re.findall(r"-m[\", ]+((?:shared|gwclient|scripts|bench|tests)(?:\.\w+)+)", text))
    assert {"shared.serve", "shared.auth.issue_token", "shared.preproc.job"} <= named
    assert {name for name in named if importlib.util.find_spec(name) is None} == set()


def test_every_module_says_in_its_first_sentence_what_it_owns():
    functions = [path for path in ROOT.glob("functions/*/*.py") if path.name != "__init__.py"]
    for path in [*(ROOT / "shared").rglob("*.py"), *functions]:
        assert ast.get_docstring(ast.parse(path.read_text())), path
        assert len(path.read_text().splitlines()) <= 400, path
