"""The state as the fold of the records."""

from __future__ import annotations

import pytest

from shared.domain.records import CLEAN, OPEN, UPDATE, WRITE, Record, file_name, file_number
from shared.domain.state import State, apply, fingerprint


def test_the_fold_counts_and_remembers():
    records = [
        Record("info", 0, 0, "", "t", OPEN, batch=4, last=17, previous="01 02 03"),
        Record("info", 0, 10, file_name(20), "t", WRITE),
        Record("info", 1, 32, file_name(21), "t", WRITE),
        Record("info", 2, 42, "", "t", UPDATE, status="FROZEN", user="op", token="x"),
        Record("info", 2, 42, "", "t", CLEAN, archive="04 05 06"),
    ]
    state = State()
    for record in records:
        state = apply(state, record)
    files = (fingerprint(20, 10) + fingerprint(21, 32)) % 2**64
    assert state == State(4, 2, 42, "FROZEN", "op", "x", 21, "01 02 03", "04 05 06", files)
    with pytest.raises(ValueError, match="unknown"):
        apply(state, Record("info", 0, 0, "", "t", "Surprise"))
    assert file_number(file_name(12345)) == 12345
