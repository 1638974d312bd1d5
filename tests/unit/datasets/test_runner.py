"""Requests for training sets: the one that DATASET names, and those that change while they are served."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from shared.config import ConfigError, store_from_env
from shared.datasets.job import _Job
from shared.datasets.orders import Order
from shared.datasets.request import Request
from shared.datasets.runner import DatasetRunner
from shared.domain.messages import ErrorBody
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


@pytest.fixture
def ordered(bench):
    """A store's runner, and an order that waits."""
    made = DatasetRunner(BatchReader(bench.config), lambda *event: None, 1 << 24)
    made.orders.add(Request("train", [100.0], channels=("V1:X",)), 1, 7)
    order = made.orders.get("train")
    assert order is not None
    return made, order


def test_what_becomes_of_an_order_is_not_noted_of_another_one_with_its_name(ordered):
    made, first = ordered
    assert made.orders.forget("train")
    made.orders.fail(first, ErrorBody("ERR", "late"))
    assert made.orders.get("train") is None
    made.orders.add(first.request, 1, 7)
    made.orders.fail(first, ErrorBody("ERR", "late"))
    made.orders.done(first)
    (second,) = made.orders.waiting()
    made.orders.done(second)
    assert made.orders.all() == []


def test_who_waits_for_an_order_that_is_taken_back_is_answered(ordered):
    made, _ = ordered
    gone, waiting = made.finished("train"), made.finished("train")
    gone.cancel()  # as its client's connection ends
    made.remove("train")
    assert waiting.done()


def test_a_set_that_is_deleted_while_it_is_put_in_place_is_gone(bench, ordered):
    made, order = ordered

    class DeletedMeanwhile:
        def get(self, name: str) -> Order | None:
            return order if made.orders.forget(name) else None

    job = _Job(bench.config, bench.layout, 1 << 24)
    job._orders = DeletedMeanwhile()  # type: ignore[assignment]
    folder = Path(bench.layout.dataset_work, "making-train")
    folder.mkdir(parents=True)
    job._publish("train", "", None, str(folder))
    assert os.listdir(bench.layout.datasets) == []
    assert not folder.exists()
