"""The set that DATASET asks for of every frozen batch: a file that holds no request ends the start."""

from __future__ import annotations

import json

import pytest

from shared.config import ConfigError, store_from_env
from shared.datasets.runner import DatasetRunner
from shared.storage.reader import BatchReader


def runner(root, content: str | None) -> DatasetRunner:
    path = root / "dataset.json"
    if content is not None:
        path.write_text(content)
    reader = BatchReader(store_from_env({"ROOT": str(root), "DATASET": str(path)}))
    return DatasetRunner(reader, lambda *event: None, 1 << 24)


def test_a_request_in_a_file_is_checked_at_the_start(tmp_path):
    wanted = runner(tmp_path, json.dumps({"name": "auto", "events": {"every": 8}})).wanted
    assert wanted
    assert (wanted.name, wanted.batch) == ("auto", "open")


@pytest.mark.parametrize(("content", "says"), [
    (None, "No such file"),
    ("{", "truncated"),
    (json.dumps({"name": "auto", "events": []}), "`events`"),
    (json.dumps({"name": "auto", "events": [1], "batch": "7"}), "`batch`"),
    (json.dumps({"name": "a" * 60, "events": [1]}), "`name`"),
])  # fmt: skip
def test_a_file_without_a_request_ends_the_start(tmp_path, content, says):
    with pytest.raises(ConfigError, match="DATASET=") as refused:
        runner(tmp_path, content)
    assert says in str(refused.value)
