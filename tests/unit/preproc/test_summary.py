"""The summary: the loudest first, nothing of a client's a tag, the same bytes for the same rows."""

from __future__ import annotations

import re

from shared.domain.messages import LoudestPixel
from shared.preproc.summary import MAX_ROWS, Row, html

ROWS = [
    Row("V1:quiet", 4096.0, (1000.0, 1062.0), "done", "", LoudestPixel(1001.5, 60.0, 21.0), "a/spectrogram.png", b"A"),
    Row("V1:<b>&\"'", 4096.0, (1000.0, 1064.0), "failed", "ValueError: <i>", None),
    Row("V1:loud", 16384.0, (1000.0, 1062.0), "done", "", LoudestPixel(1030.0, 90.5, 1e4), "b/spectrogram.png", b"B"),
    Row("V1:lost", 64.0, None, "left out", "PREPROC_TIMEOUT has nearly passed"),
]


def test_the_loudest_comes_first_and_every_piece_is_there():
    page = html(7, ROWS, b"PNG")
    names = re.findall(r"<th scope=row>(.*?)</th>", page)
    assert names == ["V1:loud", "V1:quiet", "V1:&lt;b&gt;&amp;&quot;&#x27;", "V1:lost"]
    assert "2 done, 1 failed, 1 left out" in page
    assert "failed: ValueError: &lt;i&gt;" in page
    assert '<a href="b/spectrogram.png"><img src="data:image/png;base64,Qg=="' in page
    assert '<td class=n data-v="10000.0">10000.0</td>' in page
    assert page == html(7, ROWS[::-1], b"PNG")


def test_a_fragmented_batch_has_its_loudest_pieces_in_the_table_and_all_in_the_counts():
    short = [Row("V1:x", 256.0, (float(i), i + 0.1), "too short", "under 0.5 s") for i in range(MAX_ROWS)]
    page = html(7, [*short, *ROWS], b"PNG")
    assert page.count("<th scope=row>") == MAX_ROWS
    assert "<th scope=row>V1:loud</th>" in page
    assert f"{MAX_ROWS} too short. The table has {MAX_ROWS} of them" in page


def test_it_refers_to_nothing_elsewhere():
    targets = re.findall(r"(?:src|href)=\"?([^\" >]+)", html(7, ROWS, b"PNG"))
    assert all(target.startswith("data:") or re.fullmatch(r"[ab]/spectrogram\.png", target) for target in targets)
    assert len(targets) == 5
