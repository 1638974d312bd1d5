"""The table that a run prints row by row, and all its figures as JSON."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass, field

median = statistics.median


@dataclass
class Row:
    """One quantity, measured several times.

    Attributes:
        values: the measurements, in order.
        shares: each value divided by the limit that bounds it.
        of: the name of that limit.
        ratios: each value divided by the peer's, pair by pair.
        others: further figures, by name.
    """

    what: str
    values: list[float]
    unit: str
    shares: list[float] = field(default_factory=list)
    of: str = ""
    ratios: list[float] = field(default_factory=list)
    others: dict[str, list[float]] = field(default_factory=dict)


class Report:
    """Rows by name, in the order in which they were measured."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        print("| what | median (min to max) | share of its limit | times the peer, pair by pair | more |")
        print("|---|---|---|---|---|")

    def add(self, row: Row) -> None:
        """Print a row, and keep it."""
        self.rows[row.what] = row
        share = f"{spread([100 * share for share in row.shares])} % of: {row.of}" if row.shares else ""
        ratios = " ".join(f"{ratio:.2f}" for ratio in row.ratios)
        more = ", ".join(f"{name} {number(median(values))}" for name, values in row.others.items() if values)
        print(f"| {row.what} | {spread(row.values)} {row.unit} | {share} | {ratios} | {more} |", flush=True)

    def json(self) -> list[dict[str, object]]:
        """Every row with every value."""
        return [asdict(row) for row in self.rows.values()]


def number(value: float) -> str:
    """Three significant digits, without exponent."""
    if value == int(value):
        return f"{value:,.0f}"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f}"


def spread(values: list[float]) -> str:
    """The median, followed by minimum and maximum if there are several values."""
    between = f" ({number(min(values))} to {number(max(values))})" if len(values) > 1 else ""
    return number(median(values)) + between
