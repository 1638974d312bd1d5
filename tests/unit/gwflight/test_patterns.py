"""Patterns of Arrakis' clients as globs."""

from __future__ import annotations

import fnmatch
import re

import pytest

from gwflight.patterns import exactly, glob_of

NAMES = ["V1:Hrec", "V1:Hrec_hoft", "L1:Hrec", "V1.Hrec", "V1:a*b", "V1:a?[b]", "V1:aXb", ""]


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        ".*",
        "V1:.*",
        "V1.Hrec",
        r"V1\.Hrec",
        "^V1:Hrec$",
        "V1:Hrec",
        ".*Hrec$",
        r"V1:a\*b",
        r"V1:a\?\[b\]",
        "V1:a.b",
    ],
)
def test_a_glob_matches_what_the_expression_does(pattern):
    matched = [name for name in NAMES if fnmatch.fnmatchcase(name, glob_of(pattern))]
    assert matched == [name for name in NAMES if re.match(pattern, name)]


@pytest.mark.parametrize("pattern", ["(a+)+$", "a|b", "[ab]", "a{3}", "a?", "a+", "a*", "a$b", "\\"])
def test_other_expressions_are_refused(pattern):
    with pytest.raises(ValueError, match=re.escape(".* stands for any text")):
        glob_of(pattern)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_matches_itself_only(name):
    assert [other for other in NAMES if fnmatch.fnmatchcase(other, exactly(name))] == [name]
