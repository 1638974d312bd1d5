"""The commands of the documentation work: each block of README.md and docs/ is run, in order, against a real store.

The convention: a block of commands is fenced with `console`, a command begins with `$ `, and the lines behind it are
what it prints. A page is run in a folder of its own, with a store of its own, whose address takes the place of
`localhost:8080`. `…` or `...` in the output stands for anything. Names of files and archives in it stand for those that
the store gave. What cannot run in a test is in `NOT_RUN`, with its reason; its words are checked all the same.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import select
import shlex
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import pytest

from gwclient.arguments import parser
from shared import config
from tests.support import ROOT
from tests.support.blocks import ARROW, field, stream
from tests.support.builders import segment
from tests.support.servers import FUNCTION_OF, Store
from tests.test_docs import tables, targets

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
T0 = 1126259446
INSTALLS = (
    "installs packages, or serves until it is ended; tests/contract/test_startup.py and test_gwclient.py start both"
)
CLUSTER = "needs a cluster or a registry"

# The first words of a command -> why it is not run. On which page does not matter.
NOT_RUN = {
    "make demo": INSTALLS,
    "make run": INSTALLS,
    "make .venv/.extras": INSTALLS,
    "pip install": INSTALLS,
    "ARCHIVE_URL=s3://strain/v1": INSTALLS,
    "make restore": "needs a copy elsewhere; tests/faults/test_archives.py restores",
    **dict.fromkeys(
        ("gwclient archives verify", "gwclient archives restore", "gwclient archives get"),
        "needs a copy elsewhere; tests/contract/test_remote_archives.py",
    ),
    "gwclient stream --file /frames": "watches a folder that others fill; tests/contract/test_gwclient_files.py",
    "make deploy": CLUSTER,
    "make cluster": CLUSTER,
    "make e2e": CLUSTER,
    "knative/local/cluster.sh": CLUSTER,
    "docker build": CLUSTER,
    "docker push": CLUSTER,
    "kubectl patch": CLUSTER,
    "kubectl apply": CLUSTER,
    "kubectl wait": CLUSTER,
    "kubectl annotate": CLUSTER,
    "python -m shared.auth.issue_token": CLUSTER,
    "gwclient stream --event": "needs the internet",
    "STORE_URL=http://localhost:8080": "serves until it is ended; tests/contract/test_field_clients.py",
    "ARRAKIS_SERVER=grpc://localhost:31206": "needs gwpy with arrakis; tests/contract/test_field_clients.py",
}
ENDLESS = ("gwclient follow", "curl -N")  # end when they have printed what the page shows
LATER = ("curl localhost:8080/products",)  # repeated until they print what the page shows
SLOW = {page: {"PREPROC": "auto"} for page in ("first-ten-minutes.md", "preproc.md")}  # pages that show a spectrogram
KNOWN_OUTSIDE = {"ARRAKIS_SERVER", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}  # variables of other programs
_NAME = re.compile(r"gwb\d{19}\.json")
KUBECTL = {"annotate", "apply", "patch", "wait", "delete", "get", "create", "logs", "port-forward"}


class Command(NamedTuple):
    """A command of a page, and the lines that it prints."""

    text: str
    shown: str


def blocks(page: Path) -> Iterator[tuple[str, str]]:
    """Language and content of the fenced blocks."""
    for match in re.finditer(r"^```(\S*)\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL):
        yield match[1], match[2]


def commands(page: Path) -> list[Command]:
    found = []
    for language, content in blocks(page):
        if language == "console":
            assert content.startswith("$ "), f"{page}: a block of commands begins with `$ `"
            for part in re.split(r"^\$ ", content, flags=re.MULTILINE)[1:]:
                text, _, shown = part.partition("\n")
                found.append(Command(re.sub(r"\s+# .*", "", text).strip(), shown))
    return found


def is_run(command: Command) -> bool:
    return not command.text.startswith(tuple(NOT_RUN))


# -- running them ---------------------------------------------------------------------------------------------------


def with_channel(store: Store) -> None:
    """32 s of a channel at 16384 Hz, with a burst in the middle for the search for peaks."""
    import numpy as np

    rate, seconds = 16384, 32
    t = np.arange(seconds * rate) / rate - seconds / 2
    h = 1e-22 * np.random.default_rng(1).standard_normal(t.size) + 5e-21 * np.exp(-((t / 0.02) ** 2)) * np.sin(900 * t)
    body = stream([field("V1:Hrec_hoft_16384Hz", rate=rate)], [[T0 * 10**9, h.tolist()]])
    store.stored(body, {"Content-Type": ARROW})


def for_datasets(store: Store) -> None:
    with_channel(store)
    assert store.freeze().status == 201


def for_gps(store: Store) -> None:
    store.stored(segment(131072, T0, channel="V1:Hrec", detector="V1"))


def for_client(store: Store) -> None:
    import h5py
    import numpy as np

    with_channel(store)
    with h5py.File(store.root.parent / "day.hdf5", "w") as file:
        for name in ("V1:LSC_DARM", "V1:ENV_CEB"):
            dataset = file.create_dataset(f"day/{name}", data=np.arange(512) * 1e-24)
            dataset.attrs.update(t0=T0 + 40.0, sample_rate=512.0)


def for_preproc(store: Store) -> None:
    noise = random.Random(1)
    h = [round(noise.gauss(0, 1e-21), 26) for _ in range(32 * 1024)]
    store.stored(json.dumps({"h": h, "t": [T0, 1 / 1024], "detector": "L1"}).encode())


def for_reading_back(store: Store) -> None:
    for n in (1, 2):
        store.stored(segment(n))


# What is there before the first command of a page.
PREPARED: dict[str, Callable[[Store], None]] = {
    "client.md": for_client,
    "datasets.md": for_datasets,
    "gps.md": for_gps,
    "preproc.md": for_preproc,
    "read-back.md": for_reading_back,
}


def matches(shown: str, printed: str) -> bool:
    """Whether a command printed what the page shows. Space between words and lines does not count."""
    pattern = re.escape("".join(shown.split()))
    pattern = re.sub(r"…|\\\.\\\.\\\.", ".*", pattern)
    pattern = re.sub(r"gwb\d+", r"gwb\\d+", pattern)
    pattern = re.sub(r"^\d{6}", r"\\d{6}", pattern)  # an archive: hour, minute, day
    return re.search(pattern, "".join(printed.split()), re.DOTALL) is not None


class Shell:
    """Runs commands as a reader would, in a folder like a checkout, with a store at the address of the pages."""

    def __init__(self, store: Store) -> None:
        self.store, self.folder = store, store.root.parent
        self.names: dict[str, str] = {}  # of files: on the page -> in this store
        self.address = store.url("/stat").removeprefix("http://").removesuffix("/stat")
        programs = self.folder / ".venv" / "bin"
        programs.mkdir(parents=True)
        wrapped = {
            "python": f'{sys.executable} "$@"',
            "gwclient": f'{sys.executable} -m gwclient "$@"',
            "curl": "/usr/bin/env -i PATH=/usr/bin:/bin curl -sS -w '%{stderr}status %{http_code}\n' \"$@\"",
        }
        for name, line in wrapped.items():
            (programs / name).write_text(f"#!/bin/sh\nexec {line}\n")
            (programs / name).chmod(0o755)
        self.env = {
            "PATH": f"{programs}:/usr/bin:/bin", "HOME": str(self.folder), "PYTHONPATH": str(ROOT), "LANG": "C.UTF-8",
            "SRV": self.address, "PYTHONWARNINGS": "ignore",
        }  # fmt: skip

    def start(self, command: Command) -> subprocess.Popen[str]:
        text = re.sub(r"(localhost|127\.0\.0\.1):(8080|9000)", self.address, command.text)
        text = _NAME.sub(lambda match: self.names[match[0]], text)
        return subprocess.Popen(
            ["bash", "-o", "pipefail", "-c", text], cwd=self.folder, env=self.env, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip

    def run(self, command: Command) -> None:
        if command.text.startswith("cat "):  # the page shows what the reader is to write
            (self.folder / command.text.removeprefix("cat ")).write_text(command.shown)
        if command.text.startswith(ENDLESS):
            self.run_endless(command)
            return
        deadline = time.monotonic() + 60
        while True:
            with self.start(command) as process:
                printed, complaints = process.communicate(timeout=120)
            if not command.text.startswith(LATER) or matches(command.shown, printed) or time.monotonic() > deadline:
                break
            time.sleep(0.3)
        said = f"$ {command.text}\n{printed}\n{complaints}"
        assert process.returncode == 0, said
        refused = '"code":"' in command.shown and '"body":"Datastore frozen' in command.shown
        assert refused or not re.search(r"^status [45]", complaints, re.MULTILINE), said
        assert matches(command.shown, printed + complaints), f"{said}\nThe page shows:\n{command.shown}"
        self.names.update(zip(_NAME.findall(command.shown), _NAME.findall(printed), strict=False))

    def run_endless(self, command: Command) -> None:
        process = self.start(command)
        assert process.stdout is not None
        output = process.stdout.fileno()
        printed, number, deadline = "", 0, time.monotonic() + 30
        try:
            while not matches(command.shown, printed) or not printed:
                assert time.monotonic() < deadline, (
                    f"$ {command.text}\n{printed[:2000]}\nThe page shows:\n{command.shown}"
                )
                assert process.poll() is None, f"$ {command.text}\nended with {process.returncode}: {printed}"
                number += 1
                channel = "V1:Hrec" if "localhost" in command.text else "V1:Hrec_hoft_16384Hz"
                self.store.stored(segment(300, T0 + 0.1, channel=channel, number=number))
                while select.select([output], [], [], 0.1)[0] and (part := os.read(output, 65536)):
                    printed += part.decode()
            self.names.update(zip(_NAME.findall(command.shown), _NAME.findall(printed), strict=False))
        finally:
            os.killpg(process.pid, 15)
            process.communicate()


RUNNABLE = [page for page in PAGES if any(map(is_run, commands(page)))]


@pytest.mark.parametrize("page", RUNNABLE, ids=lambda page: page.name)
def test_the_commands_of_a_page_work_and_print_what_it_shows(page, new_store, tmp_path):
    mine = [command for command in commands(page) if is_run(command)]
    if any("gwclient" in command.text for command in mine) and not (find_spec("gwosc") and find_spec("gwpy")):
        pytest.skip("needs the client's packages, and gwpy: make .venv/.extras")
    store = new_store("embedded", root=tmp_path / "var", **SLOW.get(page.name, {}))
    PREPARED.get(page.name, lambda store: None)(store)
    shell = Shell(store)
    for command in mine:
        shell.run(command)


# -- and those that are not run -------------------------------------------------------------------------------------


def test_what_is_not_run_is_there_and_few():
    texts = [command.text for page in PAGES for command in commands(page)]
    assert not {start for start in NOT_RUN if not any(text.startswith(start) for text in texts)}
    assert not {start for start in (*ENDLESS, *LATER) if not any(text.startswith(start) for text in texts)}
    assert sum(not text.startswith(tuple(NOT_RUN)) for text in texts) >= 25


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_of_commands_is_marked_as_one(page):
    for language, content in blocks(page):
        assert language in ("", "console", "mermaid", "python", "json"), language
        if language == "":
            words = {line.split()[0] for line in content.splitlines() if line.strip()}
            assert not words & {"$", "make", "curl", "kubectl", "docker", "gwclient", "python", "git", "pip"}, content
        if language == "python":
            compile(content, str(page), "exec")


def inline(page: Path) -> list[str]:
    """Commands within sentences, whose arguments may be left out."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    starts = ("gwclient ", "make ", "kubectl ", "python -m ", "curl ")
    return [" ".join(s.split()) for s in re.findall(r"`([^`]+)`", text) if s.startswith(starts)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_words_of_every_command_exist(page):
    for command in commands(page):
        for part in command.text.split(" | "):
            check(part, whole=True)
            assert "curl" not in part or "localhost" in part, part
    for text in inline(page):
        check(text.replace("\\|", "|"), whole=False)


def check(text: str, whole: bool) -> None:
    """Check that the words of one command exist; `whole` if no argument is left out."""
    words = shlex.split(text) if whole else text.split()
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        variable = words.pop(0).partition("=")[0]
        assert variable in tables().keys() | KNOWN_OUTSIDE, text
    program, *arguments = words
    known = {"make": check_make, "kubectl": check_kubectl, "docker": check_docker, "python": check_python}
    known["curl"] = check_curl
    if program.removeprefix(".venv/bin/") == "gwclient":
        check_gwclient(arguments, whole, text)
    elif program in known:
        known[program](arguments, text)
    elif program == "pip":
        extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
        assert re.fullmatch(r"\.\[(.+)\]", arguments[-1])[1] in extras, text  # type: ignore[index]
    else:
        assert program in ("cat", "ls") or (ROOT / program).is_file(), text


def check_make(arguments: list[str], text: str) -> None:
    target, *given = arguments
    assert target in targets(), text
    makefile = (ROOT / "Makefile").read_text()
    variables = {re.split(r"[=…]", word.strip("[]"))[0] for word in given if "=" in word}
    assert not {v for v in variables if f"$({v})" not in makefile} - config.declared_variables() - {"DEMO_EXIT"}, text


def check_kubectl(arguments: list[str], text: str) -> None:
    if not arguments or arguments[0] not in KUBECTL:
        raise AssertionError(text)
    for path in (word for word in arguments if word.startswith("knative/") and "…" not in word):
        assert (ROOT / path).exists(), text
        assert "-k" not in arguments or (ROOT / path / "kustomization.yaml").is_file(), text


def check_docker(arguments: list[str], text: str) -> None:
    assert arguments[0] in ("build", "push"), text
    dockerfile = (ROOT / "Dockerfile").read_text()
    if "--target" in arguments:
        assert re.search(rf" AS {arguments[arguments.index('--target') + 1]}$", dockerfile, re.MULTILINE), text


def check_python(arguments: list[str], text: str) -> None:
    if arguments[0] == "-m":
        assert find_spec(arguments[1]) is not None, text


def check_curl(arguments: list[str], text: str) -> None:
    urls = [word for word in arguments if "localhost" in word]
    for url in urls:
        route = "/" + url.partition("?")[0].partition("/")[2] if "://" not in url else url.split("/", 3)[3]
        assert route in FUNCTION_OF or route in ("/products", "/preproc", "/datasets"), text


def check_gwclient(arguments: list[str], whole: bool, text: str) -> None:
    if whole:
        parser({}).parse_args(arguments)  # ends with a message where it does not
        return
    options = parser({})
    named = [word.strip("[]…,)") for word in re.split(r"[\s|]+", " ".join(arguments))]
    for word in named:
        if word == "COMMAND":
            return
        if word.startswith("-"):
            assert word.partition("=")[0] in options._option_string_actions, f"{text}: {word}"
            continue
        inner = next((a for a in options._actions if isinstance(a, argparse._SubParsersAction)), None)
        if inner and word.isidentifier() and word.islower():
            assert word in inner.choices, f"{text}: {word}"
            options = inner.choices[word]
