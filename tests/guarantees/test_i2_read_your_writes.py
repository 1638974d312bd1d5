"""I2: what was acknowledged is counted, listed and logged, for whoever asks next."""

from __future__ import annotations

import threading

from tests.support.builders import segment
from tests.support.load import post_all


def test_i2_reads_after_a_write_include_it(store):
    for n in range(1, 40):
        name = store.stored(segment(n))
        assert store.stat()["n_itm"] == n
        assert store.names()[-1] == name
        assert store.logged()[-1]["name"] == name
        assert (store.data / name).read_bytes() == segment(n)


def test_i2_every_connection_sees_its_own_writes(store):
    wrong = []

    def work(worker):
        for n in range(1, 30):
            name = store.stored(segment(n, t0=float(worker)))
            before = f"gwb{int(name[3:-5]) - 1}.json"
            if store.names(f"?limit=1&after={before}") != [name] or not (store.data / name).exists():
                wrong.append(name)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert store.check_exact()["n_itm"] == 8 * 29


def test_i2_ten_thousand_segments_over_64_connections_are_exact(store):
    body = [segment(1 + i % 30, t0=1000.0 + i) for i in range(10_000)]
    sent = post_all(store.url("/sendF"), (("", b) for b in body), 64)
    assert {s.status for s in sent} == {201}
    stat = store.check_exact()
    assert stat == {"n_itm": 10_000, "buff_size": sum(map(len, body))}
    files = store.files()
    assert all(files[s.name] == s.body for s in sent)
