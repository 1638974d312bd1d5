"""The bars that the store should reach, compared with a run's measurements."""

from __future__ import annotations

from typing import NamedTuple

from bench import block_clients, block_load, blocks, reads
from bench.generator import LONG, NOTE, SHORT
from bench.report import Report, median, number, spread
from bench.scaling import name
from bench.workloads import Load

SMALL, LARGE = 1_000, 1_000_000


class Bar(NamedTuple):
    """A bar. Without `values` it was not measured."""

    what: str
    bound: float
    unit: str
    values: list[float]
    at_least: bool = True
    note: str = ""

    @property
    def reached(self) -> bool:
        """True if the median is on the right side of the bound."""
        if not self.values:
            return False
        return median(self.values) >= self.bound if self.at_least else median(self.values) < self.bound


def all_of_them(report: Report) -> list[Bar]:
    """Every bar, with the values of this run."""

    def values(what: str) -> list[float]:
        return report.rows[what].values if what in report.rows else []

    def ratios(topology: str, load: Load) -> list[float]:
        row = report.rows.get(load.row(topology) + NOTE)
        return row.ratios if row else []

    def times_peer(topology: str, load: Load, bound: float, note: str = "") -> Bar:
        return Bar(f"{load.row(topology)}, times the peer", bound, "x", ratios(topology, load), note=note)

    def flat(what: str, *rows: str) -> Bar:
        growths = [
            median(values(name(LARGE, row))) / median(values(name(SMALL, row)))
            for row in rows
            if values(name(LARGE, row)) and values(name(SMALL, row))
        ]
        return Bar(f"{what} from {SMALL:,} to {LARGE:,} segments", 2, "x", [max(growths)] if growths else [], False)

    def worse(what: str) -> list[float]:
        """The larger of the values with keys and without, because a bar holds for both."""
        found = [values(name(LARGE, what, keys=keys)) for keys in (False, True)]
        return max((times for times in found if times), key=median, default=[])

    one, long = Load("/sendF", 1, SHORT), [Load("/sendF", n, LONG) for n in (1, 16, 64)]
    alone = report.rows.get(one.row("embedded") + NOTE)
    latencies = alone.others if alone else {}
    pairs = zip(latencies.get("p99 ms", []), latencies.get("peer p50 ms", []), strict=False)
    fewer = [f"x {load.connections}: {spread(found)}" for load in long[:2] if (found := ratios("embedded", load))]
    memory = {
        what: row.values[0] for what, row in report.rows.items() if f"{LARGE:,}" in what and "resident memory" in what
    }
    largest = max(memory, key=memory.__getitem__, default="")
    return [
        times_peer("embedded", Load("/sendF", 64, SHORT), 5),
        times_peer("split", Load("/sendF", 64, SHORT), 4),
        times_peer("embedded", one, 3),
        Bar(f"{one.row('embedded')}, p99 to the peer's p50", 1, "x", [own / peer for own, peer in pairs], False),
        times_peer("embedded", long[2], 3, "; ".join(fewer)),
        times_peer("embedded", Load("/streamdata", 16, SHORT), 15),
        times_peer("split", Load("/streamdata", 16, SHORT), 8),
        times_peer("embedded", Load("/stat", 16), 0.3),
        *(bar for bar in of_blocks(report) if bar.values),
        Bar("writer core", 50_000, "records/s", values("writer core, batches of 256, syncs included")),
        flat("a page of /dumpF", "/dumpF, first page of 100", "/dumpF, a page of 100 from the middle"),
        flat("freeze", "freeze"),
        flat("cleanall", "cleanall"),
        Bar(f"start after a clean stop, {LARGE:,} segments", 2, "s", worse("start after a clean stop"), False),
        Bar(f"start after SIGKILL, {LARGE:,} segments", 10, "s", worse("start after SIGKILL"), False),
        Bar("memory of each process", 200, "MB", list(memory.values()) and [memory[largest]], False, largest),
    ]


def of_blocks(report: Report) -> list[Bar]:
    """The bars of blocks, of the clients that send them, and of the reads that were slow beside a peer."""

    def bar(
        what: str, bound: float, unit: str, of: str, kind: str = "values", at_least: bool = True, note: str = ""
    ) -> Bar:
        row = report.rows.get(what)
        found = [] if row is None else {"values": row.values, "ratios": row.ratios, "shares": row.shares}[kind]
        if unit == "%" and kind == "shares":
            found = [100 * share for share in found]
        return Bar(f"{what}{of}", bound, unit, found, at_least, note)

    bars = []
    for topology in ("embedded", "split"):
        for connections, bound in ((1, 6), (16, 9)):
            many = blocks.row(topology, blocks.MANY, connections)
            bars.append(bar(many, bound, "x", f", times {blocks.SINGLE}", "ratios"))
        bars.append(bar(blocks.row(topology, blocks.WIDE, 1), 50, "%", ", of the disk", "shares"))
        realtime = block_load.REALTIME
        bars += [
            bar(block_load.name(topology, realtime, block_load.P99), 500, "ms", "", at_least=False),
            bar(block_load.name(topology, realtime, block_load.SHARE), 60, "%", "", at_least=False),
            bar(block_load.name(topology, block_load.MEMORY), 200, "MB", "", at_least=False),
            bar(reads.name(topology, reads.LIST), 0.8, "x", ", times the peer", "ratios"),
        ]
    bars.append(bar(reads.name("split", reads.STAT), 0.4, "x", ", times the peer", "ratios"))
    for client in (block_clients.BLOCKS, block_clients.SINGLE):
        bars.append(bar(client, 80, "%", ", of a load generator", "shares"))
    return bars


def show(bars: list[Bar]) -> None:
    """Print the table and the number of bars reached."""
    print("\n| what | bar | measured: median (min to max) | reached |\n|---|---|---|---|")
    for bar in bars:
        bound = f"{'>=' if bar.at_least else '<'} {number(bar.bound)} {bar.unit}"
        measured = f"{spread(bar.values)} {bar.unit}" if bar.values else "not measured"
        note = f"; {bar.note}" if bar.note else ""
        reached = ("yes" if bar.reached else "no") if bar.values else ""
        print(f"| {bar.what} | {bound} | {measured}{note} | {reached} |")
    print(f"\n{sum(bar.reached for bar in bars)} of {len(bars)} bars reached")
