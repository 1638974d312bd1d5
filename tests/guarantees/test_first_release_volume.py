"""A volume written by version 0.1.0 opens, recovers and goes on."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest

from tests.support import ROOT
from tests.support.builders import segment
from tests.support.checks import check_archive

VOLUME = ROOT / "tests" / "data" / "volume-0.1.0.tar.gz"


@pytest.fixture
def volume(tmp_path) -> tuple[Path, dict]:
    """The volume, unpacked, and what its clients know."""
    with tarfile.open(VOLUME) as tar:
        tar.extractall(tmp_path, filter="data")
    return tmp_path / "store", json.loads((tmp_path / "store" / "expected.json").read_text())


def test_a_volume_of_the_first_release_recovers_and_goes_on(topology, volume, new_store):
    root, expected = volume
    store = new_store(topology, root=root)
    assert store.check_exact()["n_itm"] == len(expected["open"])
    assert "torn tail" in store.writer.text()
    assert "the whole journal is replayed" in store.writer.text()  # its checkpoint has another format
    files = store.files()
    assert [(name, files[name].decode()) for _, name, _ in expected["open"]] == [
        (name, payload) for _, name, payload in expected["open"]
    ]
    (archive,) = store.archives()
    assert archive.name == expected["archive"][0]
    archived = check_archive(archive)
    assert {name: payload for _, name, payload in expected["archived"]} == {
        name: payload.decode() for name, payload in archived.items()
    }
    # Keys of both batches are still known, and so is the cleanall's (which the split topology wrote).
    for key, name, payload in [*expected["open"], *expected["archived"]]:
        assert store.stored(payload.encode(), {"Idempotency-Key": key}) == name
    if topology == "split":
        assert store.cleanall(headers={"Idempotency-Key": "clean-1"}).status == 201
    assert store.stat()["n_itm"] == len(expected["open"])

    new = store.stored(segment(9), {"Idempotency-Key": "newest"})
    assert new > max(files)
    assert store.cleanall().status == 201
    assert len(check_archive(store.archives()[-1])) == len(expected["open"]) + 1
    assert store.check_exact()["n_itm"] == 0
