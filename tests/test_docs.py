"""The documentation agrees with the code: links, paths, make targets, environment variables."""

import itertools
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared import config
from shared.config import AuthConfig, Limits, StoreConfig, StrainConfig, TelemetryConfig
from shared.config.env import settings_of

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    ROOT / "shared" / "storage" / "DESIGN.md",
]
TOP = ("shared", "functions", "gwclient", "gwflight", "scripts", "tests", "bench", "docs", "knative", ".ci")

_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`([^`\n]+)`")

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def prose(page: Path) -> str:
    return _FENCE.sub("", page.read_text())


def code(page: Path) -> Iterator[str]:
    """Every piece of code on a page: inline spans, and the lines of code blocks without their prompt."""
    yield from _SPAN.findall(prose(page))
    for block in _FENCE.findall(page.read_text()):
        yield from (line.removeprefix("$ ") for line in block.splitlines()[1:-1])


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives the headings of a page."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = base = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
        number = 0
        while slug in found:
            number += 1
            slug = f"{base}-{number}"
        found.add(slug)
    return found


# -- links, paths, commands -----------------------------------------------------------------------------------------


@pages
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", _SPAN.sub("", prose(page)))
    broken = []
    for link in links:
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert not broken


@pages
def test_paths_exist(page: Path) -> None:
    """A path below one of our folders is one; a bare file name of ours is that of some file."""
    names = {path.name for path in ROOT.iterdir()} | {path.name for top in TOP for path in (ROOT / top).rglob("*")}
    missing = set()
    for span in code(page):
        for word in re.findall(r"[\w.~<>*-]+(?:/[\w.<>*-]*)*", span):
            if any(mark in word for mark in "<>*"):
                continue
            if word.startswith(tuple(f"{top}/" for top in TOP)):
                if not (ROOT / word.split("::", maxsplit=1)[0]).exists():
                    missing.add(word)
            elif span == word and re.fullmatch(r"\w+\.(py|c|toml|yaml)", word) and word not in names:
                missing.add(word)
    assert not missing


@pages
def test_tests_that_are_named_exist(page: Path) -> None:
    source = "".join(path.read_text() for path in (ROOT / "tests").rglob("*.py"))
    named = {span for span in _SPAN.findall(prose(page)) if re.fullmatch(r"test_\w+", span)}
    assert not {name for name in named if f"def {name}(" not in source}


def targets() -> set[str]:
    """The Makefile's targets."""
    makefile = (ROOT / "Makefile").read_text().replace("$(VENV)", ".venv")
    rules = re.findall(r"^([^\s#:=][^:=\n]*):(?!=)", makefile, re.MULTILINE)
    return {name for rule in rules for name in rule.split()}


@pages
def test_make_targets_exist(page: Path) -> None:
    named = {match[1] for span in code(page) if (match := re.match(r"make ([\w./-]+)", span))}
    assert not named - targets()


def test_commands_in_messages_and_in_ci_exist() -> None:
    """Those that a message, or the reason of a skipped test, tells to run; and `make` installs every group."""
    sources = [path for top in TOP for path in (ROOT / top).rglob("*") if path.suffix in ("", ".py", ".sh")]
    text = "".join(path.read_text(errors="ignore") for path in sources if path.is_file())
    named = set(re.findall(r"(?:^|`|: )make ([\w./-]+)", text, re.MULTILINE))
    assert {".venv/.extras", "check", "test"} <= named
    assert not named - targets()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = set(re.findall(r"'\.\[(\w+)\]'", text + "".join(page.read_text() for page in PAGES)))
    assert extras == project["project"]["optional-dependencies"].keys()
    stamps = {name.removeprefix(".venv/.") for name in targets() if name.startswith(".venv/.")}
    venvs = {f"clients-{match[1]}" for name in targets() if (match := re.match(r"\$\(CLIENT_VENVS\)/(\w+)/", name))}
    assert (stamps - {"runtime", "extras", "%"}) | venvs == project["dependency-groups"].keys()


def test_make_help_lists_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text().replace("\\\n", "")
    (phony,) = re.findall(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)
    done = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert re.findall(r"^  make ([\w-]+) +\w", done.stdout, re.MULTILINE) == phony.split()
    assert set(phony.split()) <= targets()


@pages
def test_no_page_names_a_package_that_is_not_published(page: Path) -> None:
    assert not re.search(r"pip install ['\"]?dt-datastore", page.read_text())


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text()
    others = {page.name for page in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert not {name for name in others if name not in index}


def test_from_the_readme_to_the_sync_of_a_payload_each_file_is_named_in_the_one_before() -> None:
    chain = [
        "README.md",
        "functions/ingest/main.py",
        "shared/ingest/group_commit.py",
        "shared/ingest/spool_writer.py",
        "shared/volume/posix.py",
    ]
    for before, after in itertools.pairwise(chain):
        text = (ROOT / before).read_text()
        assert after in text or after.removesuffix(".py").replace("/", ".") in text, f"{before} does not name {after}"
    assert "os.fdatasync(" in (ROOT / chain[-1]).read_text()


def test_screenshots_are_there_in_every_width_and_theme_and_small() -> None:
    pictures = {path.name: path.stat().st_size for path in (ROOT / "docs" / "screenshots").iterdir()}
    views = itertools.product((1440, 768, 390), ("light", "dark"))
    assert {f"page-{width}-{scheme}.png" for width, scheme in views} <= pictures.keys()
    assert sum(pictures.values()) < 1_500_000


# -- environment variables ------------------------------------------------------------------------------------------


def tables() -> dict[str, list[str]]:
    """The configuration tables: variable -> cells of its row."""
    section = (ROOT / "docs" / "reference.md").read_text().split("\n## Configuration\n")[1]
    rows: dict[str, list[str]] = {}
    for line in section.splitlines():
        if line.startswith("| `"):
            cells = [cell.strip() for cell in line.split("|")[1:-1]]
            for variable in re.findall(r"`([A-Z][A-Z0-9_]+)`", cells[0]):
                assert variable not in rows, f"{variable} stands in two rows"
                rows[variable] = cells
    return rows


def test_every_variable_that_is_declared_is_in_the_tables() -> None:
    assert len(config.declared_variables()) > 50
    assert not config.declared_variables() - tables().keys()


def test_every_variable_in_the_tables_is_one_that_the_code_reads() -> None:
    folders = [ROOT / name for name in ("shared", "functions", "gwclient", "gwflight", "scripts")]
    files = [path for folder in folders for path in folder.rglob("*.py")]
    source = "".join(path.read_text() for path in [*files, ROOT / "Makefile"])
    read = config.declared_variables() | {name for name in tables() if f'"{name}"' in source or f"$({name})" in source}
    assert not tables().keys() - read


def test_every_variable_that_a_program_reads_by_itself_is_in_the_tables() -> None:
    """Those of the client, of gwflight, of the demo; settings have a list of their own."""
    folders = [ROOT / name for name in ("shared", "functions", "gwclient", "gwflight", "scripts")]
    source = "".join(path.read_text() for folder in folders for path in folder.rglob("*.py"))
    read = set(re.findall(r"env(?:iron)?\.get\(\s*\"([A-Z][A-Z0-9_]+)\"", source))
    read |= set(re.findall(r"environ\[\"([A-Z][A-Z0-9_]+)\"\]", source))
    assert {"FUNCTION_TARGET", "SRV", "STORE_URL", "DEMO_EXIT"} <= read
    assert not read - tables().keys() - {"PYTHONPATH"}


# Words with underscores that are no variables of ours: codes, flags of systems, variables of other programs.
OTHER_WORDS = {
    "RES_CREATE", "STAT_UPD", "RENAME_EXCHANGE", "O_DIRECT", "O_EXCL", "O_NOFOLLOW", "LD_PRELOAD", "SSL_CERT_FILE",
    "KHZ_R1",
    "ARRAKIS_SERVER", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "GWDATAFIND_SERVER", "GWPY_CACHE", "NOT_RUN",
    "OTEL_EXPORTER_OTLP_HEADERS",
}  # fmt: skip


def words_of_tools() -> set[str]:
    """Variables of make and of the image, and whatever tests and tools hold in capitals."""
    tools = [path for top in ("tests", "knative") for path in (ROOT / top).rglob("*") if path.suffix in (".py", ".sh")]
    text = "".join(path.read_text() for path in tools if path.name != Path(__file__).name)
    words = set(re.findall(r"[\"']([A-Z][A-Z0-9_]+)[\"']|\$\{?([A-Z][A-Z0-9_]+)", text))
    cluster = re.findall(r"DATASTORE_[A-Z_]+", text)  # which are read by names that are put together
    makefile = re.findall(r"\$\(([A-Z_]+)\)|^([A-Z_]+) *\?=", (ROOT / "Makefile").read_text(), re.MULTILINE)
    modules = re.findall(r"^([A-Z_]+)\b", (ROOT / "shared" / "web" / "asgi.py").read_text(), re.MULTILINE)
    image = re.findall(r"^ARG (\w+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    return {word for pair in (*words, *makefile) for word in pair} | {*cluster, *modules, *image}


@pages
def test_every_variable_that_a_page_names_is_one_that_something_reads(page: Path) -> None:
    named = set()
    for span in code(page):
        named |= set(re.findall(r"(?<![\w$<.-])([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)(?![\w.>-])", span))
        named |= set(re.findall(r"(?:^|\s|\[)([A-Z][A-Z0-9_]+)=", span))
    assert not named - tables().keys() - words_of_tools() - OTHER_WORDS


@pytest.mark.parametrize("settings", [StoreConfig, Limits, AuthConfig, StrainConfig, TelemetryConfig])
def test_defaults_and_meanings_in_the_tables_are_those_of_the_code(settings: type[Any]) -> None:
    wrong = []
    for setting, default in settings_of(settings):
        cells = tables()[setting.variable]
        if setting.variable in ("PREPROC", "LOG_FORMAT"):  # words
            expected = {"PREPROC": "auto", "LOG_FORMAT": "text"}[setting.variable]
        elif isinstance(default, bool):
            expected = str(default).lower()
        else:
            expected = f"{default:g}" if isinstance(default, float) else str(default)
        if cells[1].strip("`") != expected:
            wrong.append(f"{setting.variable}: default {cells[1]!r}, in the code {expected!r}")
        if setting.meaning not in " ".join(cells[2:]):
            wrong.append(f"{setting.variable}: its meaning is {setting.meaning!r} in the code")
    assert not wrong
