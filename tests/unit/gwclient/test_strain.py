"""Times of samples."""

from __future__ import annotations

from fractions import Fraction

import numpy
from hypothesis import given
from hypothesis import strategies as st

from gwclient.sources import Strain


@given(st.fractions(0, 2e9), st.fractions(Fraction(1, 10**6), 1e6), st.integers(0, 10**12))
def test_a_time_is_rounded_once(t0, rate, index):
    strain = Strain(numpy.zeros(0), t0, rate, "", "")
    assert strain.time_of(index) == float(t0 + index / rate)
