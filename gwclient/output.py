"""The output of commands: a table, JSON with one object a line, or names with one a line."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

Row = Mapping[str, object]


def print_rows(rows: Iterable[Row], form: str) -> None:
    """Print rows as `table`, `json` or `name` (the value under "name", otherwise the first one)."""
    if form == "table":
        _print_table(list(rows))
        return
    for row in rows:
        print(json.dumps(row) if form == "json" else row.get("name", next(iter(row.values()), "")))


def _print_table(rows: list[Row]) -> None:
    if not rows:
        return
    nested = {key for row in rows for key, value in row.items() if isinstance(value, list | dict)}  # which JSON shows
    columns = [key for key in dict.fromkeys(key for row in rows for key in row) if key not in nested]
    cells = [[_cell(row.get(column)) for column in columns] for row in rows]
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    numeric = [all(isinstance(row.get(column), int | float | None) for row in rows) for column in columns]
    for line in (columns, *cells):
        aligned = (
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, numeric, strict=True)
        )
        print("  ".join(aligned).rstrip())


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.10g}" if isinstance(value, float) and abs(value) < 1e6 else str(value)
