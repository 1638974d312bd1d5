"""The figures of the status page, over HTTP."""

from __future__ import annotations

import json
import time
from urllib.parse import quote

import pyarrow as pa
import pytest

from tests.support.blocks import ARROW, NS, T0, field, stream
from tests.support.builders import segment
from tests.support.page import PNG, put_product, strain
from tests.support.servers import Process, Store, http


def status(store) -> dict:
    answer = store.request("GET", "/status.json")
    assert answer.status == 200, answer.data
    return answer.json()


def soon(store, holds) -> dict:
    """The figures once they are as they should be: they are made anew twice a second.

    Those of the test before are not taken for this one's, so the newest entry must be this batch's.
    """
    newest = store.names()[-1:]
    deadline = time.monotonic() + 10
    while True:
        shown = status(store)
        if [entry["name"] for entry in shown["log"][:1]] == newest and holds(shown):
            return shown
        assert time.monotonic() < deadline, shown
        time.sleep(0.1)


def test_the_figures_follow_the_batch(services):
    for i in range(4):
        services.stored(strain(i, 32))
    services.stored(segment(8, t0=2000000000.0, dt=0.5, detector="L1"))
    stat = services.stat()
    shown = soon(services, lambda s: s["n_itm"] == 5)
    assert (shown["state"], shown["user"], shown["buff_size"]) == ("OPERATIONAL", "databuf", stat["buff_size"])
    assert shown["fill"] == min(1, stat["buff_size"] / 3000)
    assert shown["seconds"] == pytest.approx(4 * 32 / 4096 + 4)
    assert shown["longest"] == pytest.approx(4)
    assert sum(shown["rates"]) <= 5 or shown["rate"]["segments"] > 0
    assert [e["name"] for e in shown["log"]] == services.names()[::-1]
    assert (shown["strain"]["detector"], shown["strain"]["h"]) == ("L1", [i * 1e-21 for i in range(1, 9)])
    assert shown["strain"]["x"] == [i * 0.5 for i in range(8)]


def test_the_newest_stretch_is_plotted_whatever_the_order_of_arrival(services):
    for i in (0, 2, 1, 4, 3):
        services.stored(strain(i, 32))
    newest = services.names()[-1]
    shown = soon(services, lambda s: s["log"] and s["log"][0]["name"] == newest)["strain"]
    assert shown["t0"] == 1126259446.0
    assert shown["seconds"] == pytest.approx(4 * 32 / 4096)  # of the four that end with the newest
    assert shown["x"] == sorted(shown["x"])


def test_the_latest_strain_of_any_channel_of_a_block_is_shown(services):
    types = [field("V1:a", rate=8), field("V1:b", pa.float32(), rate=4)]
    for second, first in enumerate((0.5, 8.5)):
        rows = [[(T0 + second) * NS, [first + i for i in range(8)], [1.0, None, 3.0, 4.0 + second]]]
        services.stored(stream(types, rows), {"Content-Type": ARROW})
    shown = soon(services, lambda s: s["n_itm"] == 2)
    plot = shown["strain"]
    assert (plot["channel"], plot["t0"], plot["seconds"]) == ("V1:a", T0, 2.0)
    assert (plot["x"], plot["h"]) == ([i / 8 for i in range(16)], [0.5 + i for i in range(16)])
    assert plot["channels"] == ["V1:a", "V1:b"]
    assert (shown["channels"], shown["log"][0]["channels"], "holds" in shown["log"][0]) == (2, 3, False)
    chosen = services.request("GET", "/status.json", query="?strain=V1:b").json()["strain"]
    assert (chosen["channel"], chosen["t0"], chosen["h"]) == ("V1:b", T0 + 1.5, [3.0, 5.0])
    assert services.request("GET", "/status.json", query="?strain=V1:c").json()["strain"] is None
    soon(services, lambda s: s["rate"]["samples"] >= 1.1)


def test_the_token_is_never_shown(services):
    services.stored(segment())
    services.freeze("airflow", "t0k3n-never-shown")
    shown = soon(services, lambda s: s["state"] == "FROZEN")
    assert shown["user"] == "airflow"
    assert "t0k3n" not in json.dumps(shown)


def test_the_figures_begin_anew_with_the_next_batch(services):
    services.stored(strain(0, 32))
    soon(services, lambda s: s["n_itm"] == 1)
    services.cleanall()
    shown = soon(services, lambda s: s["n_itm"] == 0)
    assert (shown["seconds"], shown["longest"], shown["log"], shown["strain"]) == (0, 0, [], None)
    newest = shown["archives"][0]
    assert (newest["name"], newest["n_itm"]) == (services.archives()[-1].name, 1)
    assert newest["buff_size"] == len(strain(0, 32))
    services.stored(strain(0, 64))
    services.stored(strain(1, 64))
    shown = soon(services, lambda s: s["n_itm"] == 2)
    assert shown["longest"] == pytest.approx(128 / 4096)


def test_a_stored_segment_can_be_read_and_nothing_else(services):
    name = services.stored(strain(0))
    assert services.request("GET", "/segment", query=f"?name={name}").data == strain(0)
    assert services.request("GET", "/segment", query=f"?name=gwb{10**18}.json").status == 404
    for bad in ("", "../../../appdata/adm/Dsstat.json", "..%2FStatDesc.json", "gwb1/../../x.json"):
        assert services.request("GET", "/segment", query=f"?name={bad}").status == 400


def test_the_document_does_not_read_what_no_plot_can_show(services):
    """Sixteen segments of a million samples would take 24 s and 1.5 GB, at each look at the page."""
    long = segment(200_000)
    services.stored(long)
    assert soon(services, lambda s: s["n_itm"] == 1)["strain"] is None
    for k in range(8):
        services.stored(segment(30_000, t0=2e9 / 2 + k * 30_000 / 4096))
    plot = soon(services, lambda s: s["n_itm"] == 9)["strain"]
    assert plot["seconds"] == pytest.approx(4 * 30_000 / 4096)
    assert len(plot["h"]) <= 1200


def test_the_spectrogram_comes_through_logic_where_it_is_another_s(tmp_path):
    """What lies in `products/` is served by preproc; here it is one picture, put there by hand."""
    store = Store("split", tmp_path / "store", upper=True, forked=True)
    preproc = Process("preproc", store.env, forked=True)
    store.processes["logic"].env["PRODUCTS_URL"] = preproc.url + "/products"
    with store:
        preproc.start()
        try:
            assert status(store)["spectrogram"] is None
            put_product(store.root / "datavar" / "products", "H1.png", PNG)
            shown = soon(store, lambda s: s["spectrogram"])["spectrogram"]
            assert shown == {"name": "H1.png", "url": "/products/H1.png"}
            base = store.url("/").removesuffix("/")
            picture = http.request("GET", base + shown["url"])
            assert (picture.headers["Content-Type"], picture.data) == ("image/png", PNG)
            assert http.request("GET", base + "/products/H2.png").status == 404
            assert http.request("GET", base + "/products").json()["verdict"] == "done"
            store.cleanall()
            [archive] = http.request("GET", base + "/archives").json()["archives"]
            assert (archive["verdict"], archive["products"]) == ("done", 1)
            below = f"{base}/archives/{quote(archive['name'])}/products"
            [picture, _] = http.request("GET", below).json()["products"]
            assert http.request("GET", base + picture["url"]).data == PNG
            for path in ("/H2.png", "/../LogStream.json"):
                assert http.request("GET", below + path).status == 404
            assert http.request("GET", base + "/archives/%2e%2e/products").status == 404
            assert http.request("GET", base + "/archives/none/products").status == 404
        finally:
            preproc.stop()
        assert status(store)["state"] == "OPERATIONAL"  # without preproc the page is shown without its picture
        assert soon(store, lambda s: s["spectrogram"] is None)
