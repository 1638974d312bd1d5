"""The summary of a batch: an HTML page of all its pieces, in one file that works without a server.

It refers to nothing elsewhere but to the pictures in the folders beside it. Equal products give equal bytes.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from shared.domain.messages import LoudestPixel


class Row(NamedTuple):
    """A row: a piece of strain, its verdict, and its spectrogram if there is one.

    `span` is in GPS seconds. `picture` is the URL of its PNG; `thumbnail` has a PNG's bytes.
    """

    channel: str
    rate: float
    span: tuple[float, float] | None
    verdict: str
    reason: str = ""
    loudest: LoudestPixel | None = None
    picture: str = ""
    thumbnail: bytes = b""


MAX_ROWS = 2000  # the loudest; a fragmented batch may have many pieces that are too short

_STYLE = """
:root { color-scheme: light dark; font: 15px/1.4 system-ui, sans-serif; }
body { margin: 1rem; }
img { max-width: 100%; height: auto; vertical-align: middle; background: #8884; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; }
th, td { padding: .25rem .6rem; border-bottom: 1px solid #8886; text-align: left; }
th[scope=row] { overflow-wrap: anywhere; }
.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
th button { all: unset; cursor: pointer; font-weight: 600; }
th button:focus-visible { outline: 2px solid; }
th[aria-sort=ascending] button::after { content: " ▲"; }
th[aria-sort=descending] button::after { content: " ▼"; }
"""

# Cells with `data-v` are sorted by that number, with missing ones last; the others by their text.
_SCRIPT = """
const body = document.querySelector("tbody"), heads = [...document.querySelectorAll("thead th")];
const value = (row, i) => row.cells[i].dataset.v ?? row.cells[i].textContent;
function sort(i, falling) {
  const numbers = heads[i].classList.contains("n"), sign = falling ? -1 : 1;
  const rows = [...body.rows].sort((a, b) => {
    const x = value(a, i), y = value(b, i);
    if ((x === "") !== (y === "")) return x === "" ? 1 : -1;
    return sign * (numbers ? x - y : x.localeCompare(y));
  });
  body.append(...rows);
  heads.forEach((head, k) => head.setAttribute("aria-sort", k !== i ? "none" : falling ? "descending" : "ascending"));
}
heads.forEach((head, i) => head.querySelector("button")?.addEventListener("click", () => {
  const was = head.getAttribute("aria-sort");
  sort(i, was === "none" ? head.classList.contains("n") : was === "ascending");
}));
document.querySelector("input").addEventListener("input", (event) => {
  const text = event.target.value.toLowerCase();
  for (const row of body.rows) row.hidden = !row.cells[1].textContent.toLowerCase().includes(text);
});
"""

_HEADS = (
    ("Spectrogram", ""), ("Channel", "s"), ("Loudest energy", "n"), ("at GPS", "n"), ("at Hz", "n"),
    ("Begin, GPS", "n"), ("Seconds", "n"), ("Samples/s", "n"), ("Verdict", "s"),
)  # fmt: skip


def html(batch: int, rows: Sequence[Row], overview: bytes) -> str:
    """The page: the overview, and a table with the loudest piece first.

    Args:
        batch: its number.
        rows: of all pieces.
        overview: a PNG of all channels.
    """
    ordered = sorted(rows, key=lambda row: (-row.loudest.energy if row.loudest else 1, row.channel, row.span or (0, 0)))
    verdicts: dict[str, int] = {}
    for row in ordered:
        verdicts[row.verdict] = verdicts.get(row.verdict, 0) + 1
    left = len(ordered) - MAX_ROWS
    more = f" The table has {MAX_ROWS} of them; manifest.json has all." if left > 0 else ""
    counts = ", ".join(f"{count} {verdict}" for verdict, count in sorted(verdicts.items()))
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Spectrograms of batch {batch}</title>
<style>{_STYLE}</style>
<h1>Spectrograms of batch {batch}</h1>
<p>Pieces of strain: {escape(counts)}.{more}</p>
<p><img src="{_url(overview)}" alt="Loudest pixel of each channel over time"></p>
<p><label>Part of a channel's name <input type="search"></label></p>
<div class="scroll" tabindex="0" role="group" aria-label="Table of pieces of strain"><table>
<thead><tr>{"".join(map(_head, _HEADS))}</tr></thead>
<tbody>
{"".join(map(_row, ordered[:MAX_ROWS]))}</tbody>
</table></div>
<script>{_SCRIPT}</script>
</html>
"""


def _head(about: tuple[str, str]) -> str:
    text, kind = about
    if not kind:
        return f"<th scope=col>{text}</th>"
    sorted_by = "descending" if text == "Loudest energy" else "none"
    return f'<th scope=col class="{kind}" aria-sort={sorted_by}><button type=button>{text}</button></th>'


def _row(row: Row) -> str:
    image = ""
    if row.thumbnail:
        alt = escape(f"Spectrogram of {row.channel}")
        image = f'<img src="{_url(row.thumbnail)}" alt="{alt}" width=192 height=96 loading=lazy>'
    if row.picture:
        image = f'<a href="{escape(row.picture)}">{image}</a>'
    begin, end = row.span or (None, None)
    energy, gps, hertz = (row.loudest.energy, row.loudest.gps, row.loudest.frequency) if row.loudest else (None,) * 3
    cells = (
        _number(energy, ".1f"),
        _number(gps, ".3f"),
        _number(hertz, ".1f"),
        _number(begin, ".3f"),
        _number(None if begin is None or end is None else end - begin, ".6g"),
        _number(row.rate, ".6g"),
    )
    verdict = f"{row.verdict}: {row.reason}" if row.reason else row.verdict
    return (
        f"<tr><td>{image}</td><th scope=row>{escape(row.channel)}</th>{''.join(cells)}<td>{escape(verdict)}</td></tr>\n"
    )


def _url(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _number(value: float | None, form: str) -> str:
    return '<td class=n data-v=""></td>' if value is None else f'<td class=n data-v="{value!r}">{value:{form}}</td>'
