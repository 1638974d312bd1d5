"""A volume that the pods' user may not write: writer and readers say whose it is, and how that is mended."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.support import ROOT
from tests.support.servers import PASSED_ON

ATTEMPT = """
import os
import sys
from shared.config import ConfigError, store_from_env
from shared.errors import DatastoreError
from shared.serve.command_line import check_folders
from shared.storage.reader import BatchReader
from shared.storage.writer import Writer

config = store_from_env()
if user := int(sys.argv[1]):  # after the imports, because the interpreter may lie where that user may not go
    os.setgroups([])
    os.setgid(user)
    os.setuid(user)
attempts = BatchReader(config).check, lambda: check_folders(config), Writer(config).open, BatchReader(config).check
for attempt in attempts:
    try:
        attempt()
        print("done")
    except DatastoreError as error:
        print(f"{error.code} {error}")
    except ConfigError as error:
        print(f"config {error}")
"""
USER = 65532


@pytest.fixture
def volume(tmp_path_factory) -> Path:
    """A volume whose claims another user may enter, and nobody but their owner may write."""
    folder = tmp_path_factory.mktemp("volume")
    for above in (folder, *folder.parents):
        if above == Path(tempfile.gettempdir()):
            break
        above.chmod(0o755)
    for claim in ("appdata", "datavar"):
        (folder / claim).mkdir(mode=0o755)
        if os.geteuid() != 0:
            (folder / claim).chmod(0o555)
    return folder


def attempts(volume: Path) -> list[str]:
    """What a reader, a start, a writer and again a reader say, each a line."""
    env = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    user = USER if os.geteuid() == 0 else 0
    result = subprocess.run(
        [sys.executable, "-c", ATTEMPT, str(user)], env={**env, "PYTHONPATH": str(ROOT), "ROOT": str(volume)},
        cwd="/", capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


def test_writer_and_readers_name_folder_owner_mode_user_and_what_mends_it(volume):
    user = USER if os.geteuid() == 0 else os.geteuid()
    reader, start, writer, again = attempts(volume)
    assert reader.startswith("RECOVERING The store has not published its counts yet. ")
    assert writer.startswith("ERRIO creating the store's folders: Permission denied. ")
    assert start.startswith(f"config {volume}/appdata/adm: cannot be made: Permission denied; ")
    assert again == reader
    owner = (volume / "appdata").stat()
    mode = f"{owner.st_mode & 0o7777:04o}"
    for line in (reader, start, writer):
        assert f"{volume}/appdata belongs to user {owner.st_uid} and group {owner.st_gid} with mode {mode};" in line
        assert f"user {user} with groups {user}" in line or os.geteuid() != 0
        assert f"`chown {user}:" in line
        assert "knative/cluster/volumes.yaml" in line


def test_what_the_message_says_mends_it(volume):
    for claim in ("appdata", "datavar"):
        if os.geteuid() == 0:
            os.chown(volume / claim, USER, USER)
        else:
            (volume / claim).chmod(0o755)
    assert attempts(volume) == ["RECOVERING The store has not published its counts yet.", "done", "done", "done"]


def test_a_claim_that_nobody_but_its_owner_may_read_is_explained_to_readers(volume):
    if os.geteuid() != 0:
        pytest.skip("needs root, who owns what another user may not read")
    (volume / "appdata").chmod(0o700)
    [reader, *_] = attempts(volume)
    assert reader.startswith("ERRIO ")
    assert f"Permission denied. {volume}/appdata belongs to user 0" in reader
