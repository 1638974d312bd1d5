"""The command line of the benchmarks."""

from __future__ import annotations

import re

from tests.support import ROOT


def test_the_options_that_are_read_are_those_that_are_declared():
    source = (ROOT / "bench" / "__main__.py").read_text()
    declared = {name.replace("-", "_") for name in re.findall(r'add_argument\("--([\w-]+)"', source)}
    assert "sizes" in declared
    assert set(re.findall(r"\basked\.(\w+)", source)) == declared
