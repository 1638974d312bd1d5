"""The status page: its figures over HTTP, and the page itself in a real browser."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import os
import re
import shutil
import time
from pathlib import Path

import pytest

from shared.preproc.products import MANIFEST, File, Manifest, encode
from tests.support.builders import segment
from tests.support.servers import Process, Store, http

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"
QUIET = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip


def strain(i: int, n=300, dt=1 / 4096, **extra) -> bytes:
    """The `i`th segment of a stream without gaps, with a chirp near 2.3 s, so that there is something to see."""
    t = [(i * n + k) * dt for k in range(n)]
    h = [3e-22 * math.sin(9 * x) + 1e-22 * math.sin(251 * x) * math.sin(3 * x) + 1e-21 * chirp(2.3 - x) for x in t]
    return json.dumps({"h": h, "t": [1126259446.0 + i * n * dt, dt], "detector": "H1", **extra}).encode()


def chirp(left: float) -> float:
    """A compact binary `left` seconds before it merges, in the lowest order: f ~ left^(-3/8), h ~ left^(-1/4)."""
    if left <= 0:
        return math.exp(left * 150) * math.cos(1500 * left)
    return 0.12 * max(left, 1e-3) ** -0.25 * math.cos(2 * math.pi * 40 * (left + 1e-3) ** 0.625)


PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)


def put_product(folder: Path, name: str, content: bytes) -> None:
    folder.mkdir()
    (folder / name).write_bytes(content)
    file = File(name=name, size=len(content), sha256=hashlib.sha256(content).hexdigest())
    manifest = Manifest(
        batch=1, n_itm=0, buff_size=0, verdict="done", time="", files=[file],
        streams=[], unusable=[], parameters={}, versions={},
    )  # fmt: skip
    (folder / MANIFEST).write_bytes(encode(manifest))


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
        finally:
            preproc.stop()
        assert status(store)["state"] == "OPERATIONAL"  # without preproc the page is shown without its picture
        assert soon(store, lambda s: s["spectrogram"] is None)


# -- in a browser ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: make test BROWSER=1")
    if not os.path.exists(CHROMIUM):
        pytest.skip(f"no browser at {CHROMIUM}: install chromium, or set CHROMIUM")
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser):
    """A function that opens a page and fails the test, at its end, for anything the console complained about."""
    contexts, complaints = [], []

    def open_(url, expected="never said", **options):
        origin = url[: url.index("/", len("http://"))]

        def on_console(said):
            if said.type in ("error", "warning") and expected not in said.text:
                complaints.append(said.text)

        def on_request(request):
            if not request.url.startswith((origin, "data:")):
                complaints.append(f"asked {request.url}")

        context = browser.new_context(**{"viewport": {"width": 1200, "height": 900}, **options})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", on_console)
        page.on("request", on_request)
        page.goto(url)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert complaints == []


def wait_for(page, element, text):
    from playwright.sync_api import expect

    expect(page.locator(element)).to_have_text(text, timeout=20_000)


def background(page) -> tuple[int, ...]:
    color = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    return tuple(map(int, color[4:-1].split(",")))


def bar(page) -> float:
    return page.evaluate("parseFloat(document.querySelector('#bar div').style.width)")


def test_the_bar_moves_and_freezing_turns_the_page_red(services, open_page):
    services.stored(strain(0, 16))
    page = open_page(services.url("/"))
    wait_for(page, "#files", "1")
    before = bar(page)
    assert 0 < before < 100
    assert page.inner_text("#state") == "OPERATIONAL"
    red, green, blue = background(page)
    assert max(red, green, blue) - min(red, green, blue) < 20
    services.stored(strain(1, 16))
    wait_for(page, "#files", "2")
    assert before < bar(page) < 100
    assert page.locator("#strain canvas").count() == 1
    assert page.locator("#log tr").count() == 2

    services.freeze("airflow", "t0k3n-never-shown")
    wait_for(page, "#state", "FROZEN")
    red, green, blue = background(page)
    assert red > max(green, blue) + 20
    assert "airflow" in page.inner_text("#note")
    assert "t0k3n" not in page.content()
    services.cleanall()
    wait_for(page, "#state", "OPERATIONAL")
    assert page.locator("#archives tr").count() >= 1


def test_with_authentication_the_page_asks_for_a_token_and_operates_the_store(new_store, tmp_path, open_page):
    secret = "a-token-that-is-long-enough"
    entry = f"sha256:{hashlib.sha256(secret.encode()).hexdigest()} ada read,write,operate\n"
    (tmp_path / "tokens").write_text(entry)
    store = new_store("embedded", AUTH_TOKENS=str(tmp_path / "tokens"), MAX_SIZE="1")
    store.stored(strain(0), {"Authorization": f"Bearer {secret}"})
    page = open_page(store.url("/stat").removesuffix("stat"), "401")
    for given in ("wrong", secret):
        page.wait_for_selector("#ask[open]")
        page.fill("#token", given)
        page.click("#yes")
    wait_for(page, "#state", "OPERATIONAL")
    assert page.is_hidden("#warning")
    page.click("#freeze")
    assert page.is_hidden("#token")
    page.click("#ask button:has-text('Cancel')")
    page.click("#freeze")
    assert "no segment" in page.inner_text("#ask-text")
    page.click("#yes")
    wait_for(page, "#state", "FROZEN")
    wait_for(page, "#user", "ada")
    page.click("#clean")
    page.click("#yes")
    wait_for(page, "#state", "OPERATIONAL")
    wait_for(page, "#files", "0")
    assert secret not in page.content()
    assert page.evaluate("localStorage.length") == 0
    page.click("#forget")
    page.wait_for_selector("#ask[open]")
    assert page.evaluate("sessionStorage.length") == 0


@pytest.fixture
def exposed(tmp_path):
    """A store that listens on every address of the machine, without authentication."""
    process = Process("datastore", {"ROOT": str(tmp_path / "store"), "PREPROC": "off"})
    process.start("/health/readiness", SERVURL=f":{process.port}")
    yield process
    process.stop()


def test_a_store_open_to_others_is_warned_about(exposed, open_page):
    page = open_page(exposed.url + "/")
    page.wait_for_selector("#warning:not([hidden])")
    assert page.is_hidden("#actions")


def test_the_last_spectrogram_is_shown_when_there_is_one(new_store, open_page):
    store = new_store("embedded")
    page = open_page(store.url("/"))
    wait_for(page, "#state", "OPERATIONAL")
    assert page.locator("#spectrogram").is_hidden()
    put_product(store.root / "datavar" / "products", "H1.png", PNG)
    page.wait_for_selector("#spectrogram img")
    assert page.get_attribute("#spectrogram a", "href") == "/products/H1.png"


def test_a_store_that_is_away_is_shown_so_and_recovers(new_store, topology, open_page):
    store = new_store(topology, upper=True)
    store.stored(strain(0))
    page = open_page(store.url("/"), expected="Failed to load resource")
    wait_for(page, "#state", "OPERATIONAL")
    away = store.processes["datastore" if topology == "embedded" else "stats"]
    away.stop()
    wait_for(page, "#state", "UNREACHABLE")
    assert "does not answer" in page.inner_text("#note")
    away.start("/health/readiness")
    wait_for(page, "#state", "OPERATIONAL")


def test_the_page_fits_a_phone_and_the_keyboard(services, open_page):
    for i in range(3):
        services.stored(strain(i))
    page = open_page(services.url("/"), viewport={"width": 390, "height": 844}, has_touch=True)
    wait_for(page, "#files", "3")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    reached = set()
    for _ in range(6):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.getAttribute('aria-labelledby')"))
    assert {"fill-title", "log-title", "archives-title"} <= reached


def test_the_documentation_shows_every_route(services, open_page):
    page = open_page(services.url("/docs"))
    page.wait_for_selector(".opblock-summary-path")
    shown = set(page.locator(".opblock-summary-path").evaluate_all("all => all.map(e => e.dataset.path)"))
    assert {"/stats", "/dumpbuf", "/desc", "/dspage", "/train", "/streamdata", "/cleanbuf"} <= shown


def test_a_picture_can_be_taken(new_store, open_page, tmp_path):
    """With PICTURE set to a file, it goes there: docs/status.png is made so."""
    store = new_store("embedded")
    for i in range(20):
        store.stored(strain(i))
    store.freeze("airflow", "x")
    store.cleanall()
    for i in range(36):
        store.stored(strain(i, channel="H1:GDS-CALIB_STRAIN"))
        time.sleep(0.1)
    page = open_page(store.url("/"), viewport={"width": 1100, "height": 940})
    wait_for(page, "#files", "36")
    wait_for(page, "#archives tr", re.compile("20"))
    page.wait_for_timeout(1000)  # the bar is still moving
    target = Path(os.environ.get("PICTURE") or tmp_path / "status.png")
    page.screenshot(path=str(target))
    assert 20_000 < target.stat().st_size < 200_000
