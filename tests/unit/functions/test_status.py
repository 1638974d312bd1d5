"""The status document's arithmetic."""

from __future__ import annotations

from functions.logic.status import decimate_min_max


def test_a_spike_survives_thinning():
    h = [0.0] * 100_000
    h[54_321], h[54_322] = 5.0, -5.0
    kept = decimate_min_max(h, 1000)
    assert len(kept) <= 1000
    assert {54_321, 54_322} <= set(kept)
    assert kept == sorted(kept)
