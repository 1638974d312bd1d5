"""I3: freeze is a barrier."""

from __future__ import annotations

import threading
import time

from tests.support.builders import segment
from tests.support.load import post_all


def test_i3_nothing_moves_after_a_freeze_under_load(store):
    finished = threading.Event()
    sent = []
    load = threading.Thread(
        target=lambda: sent.extend(
            post_all(
                store.url("/sendF"), (("", segment(9, t0=float(i))) for i in range(50_000)), 64, stop=finished.is_set
            )
        )
    )
    load.start()
    while store.stat()["n_itm"] < 200:
        time.sleep(0.01)
    assert store.freeze().status == 201
    at_freeze = store.check_exact(), store.files()
    time.sleep(1)
    later = store.check_exact(), store.files()
    finished.set()
    load.join()
    assert later == at_freeze == (store.check_exact(), store.files())
    acked = {s.name for s in sent if s.status == 201}
    refused = [s for s in sent if s.status != 201]
    assert acked == set(at_freeze[1])
    assert refused
    assert {s.status for s in refused} <= {503, 0}
    assert store.dstat()["dstatus"] == "FROZEN"
