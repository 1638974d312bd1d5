"""Hypothesis strategies for request bodies."""

from __future__ import annotations

import json

from hypothesis import strategies as st

json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)
nearly = st.fixed_dictionaries(
    {}, optional={"h": json_values, "t": json_values, "detector": json_values, "channel": json_values}
)
numbers = st.lists(st.floats() | st.integers(), max_size=6)
plausible = st.fixed_dictionaries({"h": numbers, "t": numbers}, optional={"detector": st.text()})
valid_text = st.builds(json.dumps, nearly | plausible | json_values).map(lambda text: text.encode("utf-8", "replace"))
mangled = st.builds(
    lambda body, at, junk, cut: (body[: at % (len(body) + 1)] + junk + body[at % (len(body) + 1) :])[: cut or None],
    valid_text,
    st.integers(0, 10_000),
    st.binary(max_size=6),
    st.integers(0, 60),
)

bodies = st.binary(max_size=200) | valid_text | mangled
