"""The status page in a real browser: what it says in each state, operating the store, its accessibility."""

from __future__ import annotations

import cmath
import hashlib
import importlib.util
import json
import math
import os
import random
import re
import shutil
import signal
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path

import pytest

from tests.support.blocks import ARROW, arrow_block
from tests.support.builders import segment
from tests.support.extras import needs_preproc
from tests.support.load import post_all
from tests.support.page import CHROMIUM, PNG, QUIET, put_product, strain
from tests.support.servers import Process, Store

SECRET = "a-token-that-is-long-enough"
READERS = "another-token-long-enough"


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A store for what is the same in both topologies: the page's own work."""
    with Store("embedded", tmp_path_factory.mktemp("page"), forked=True, MAX_SIZE="3000") as store:
        yield store


@pytest.fixture
def shared(alone) -> Store:
    """The batch is empty and open."""
    assert alone.cleanall().status == 201
    return alone


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
            if not request.url.startswith((origin, "data:", "blob:")):
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


def look(page) -> None:
    """Have the page look at the store now, as a tab does that is shown again."""
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")


def wait_for(page, element, text):
    from playwright.sync_api import expect

    _soon(page, expect(page.locator(element)).to_have_text, text)


def wait_to_contain(page, element, text):
    from playwright.sync_api import expect

    _soon(page, expect(page.locator(element)).to_contain_text, text)


def _soon(page, holds, text):
    for _ in range(10):
        look(page)
        try:
            holds(text, timeout=1000)
        except AssertionError:
            continue
        return
    holds(text, timeout=10_000)


def serve(page, document=None, status=200, body="") -> None:
    """Answer the page's requests for the document: what no store says at once."""
    page.unroute_all()
    body = body or (json.dumps(document) if document else "")
    page.route("**/status.json", lambda route: route.fulfill(status=status, body=body) if body else route.abort())


def background(page) -> tuple[int, ...]:
    color = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    return tuple(map(int, color[4:-1].split(",")))


def bar(page) -> float:
    return page.evaluate("parseFloat(document.querySelector('#bar div').style.width)")


def number_of(store: Store) -> int:
    """The number of the open batch."""
    return store.request("GET", "/archives").json()["open"]["batch"]


def focused(page) -> str:
    return page.evaluate("document.activeElement.id")


# -- the batch -----------------------------------------------------------------------------------------------------


def test_the_bar_moves_and_a_frozen_batch_is_not_an_alarm(services, open_page):
    services.stored(strain(0, 16, channel="H1:GDS"))
    page = open_page(services.url("/"))
    wait_for(page, "#files", "1")
    before = bar(page)
    assert 0 < before < 100
    assert page.inner_text("#state") == "OPERATIONAL"
    services.stored(strain(1, 16, channel="H1:GDS"))
    wait_for(page, "#files", "2")
    assert before < bar(page) < 100
    assert page.locator("#strain canvas").count() == 1
    assert page.locator("#log").is_hidden()
    page.click("#raw summary")
    assert page.locator("#log tr").count() == 2
    assert "H1:GDS" in page.inner_text("#log tr >> nth=0")

    services.freeze("airflow", "t0k3n-never-shown")
    services.freeze("late", "x")
    wait_for(page, "#state", "FROZEN")
    red, green, blue = background(page)
    assert red <= max(green, blue)
    assert "Frozen by airflow" in page.inner_text("#note")
    assert page.inner_text("#user") == "airflow"
    assert page.inner_text("#since").startswith("20")
    assert "t0k3n" not in page.content()
    services.cleanall()
    wait_for(page, "#state", "OPERATIONAL")
    assert page.locator("#archives tr").count() >= 1


def test_plots_have_their_values_as_text_and_no_label_is_cut(shared, open_page):
    shared.stored(strain(0, 300, channel="H1:GDS"))
    shown = shared.request("GET", "/status.json").json()
    shown["rates"] = [0] * 59 + [12_345_678]
    page = open_page(shared.url("/"))
    serve(page, shown)
    wait_for(page, "#rates-about", "12,345,678 in the last minute, at most 12,345,678 in one second")
    assert "12,345,678" in page.get_attribute("#rates", "aria-label")
    page.click("#rates-values summary")
    wait_for(page, "#rates-values tbody tr", "112,345,678")
    cut = page.evaluate("""() => {
        const { axes, ctx } = document.getElementById("rates").plot, axis = axes[1];
        ctx.font = axis.font[0];
        const widest = Math.max(...axis._values.map((label) => ctx.measureText(label).width / devicePixelRatio));
        return widest + axis.ticks.size + axis.gap - axis._size;
    }""")
    assert cut <= 0


def test_the_latest_strain_of_a_block_is_of_the_channel_that_is_chosen(shared, open_page):
    shared.stored(arrow_block(300, 64, rate=64), {"Content-Type": ARROW})
    page = open_page(shared.url("/"))
    wait_to_contain(page, "#strain-about", "V1:CH_0, 1.00")
    assert page.locator("#strain-channels option").count() == 300
    page.fill("#strain-channel", "V1:CH_299")
    page.press("#strain-channel", "Enter")
    wait_to_contain(page, "#strain-about", "V1:CH_299, 1.00")
    assert "V1:CH_299" in page.get_attribute("#strain", "aria-label")
    assert page.locator("#strain canvas").count() == 1
    wait_to_contain(page, "#rate", "samples/s")
    page.fill("#strain-channel", "V1:none")
    page.press("#strain-channel", "Enter")
    wait_to_contain(page, "#strain-about", "There is no strain of this channel")
    page.fill("#strain-channel", "")
    page.press("#strain-channel", "Enter")
    wait_to_contain(page, "#strain-about", "V1:CH_0, 1.00")
    page.fill("#channel-search", "CH_299")
    page.press("#channel-search", "Enter")
    page.click("#channel-list button.name")
    wait_to_contain(page, "#view-about", "64 samples at 64 Hz from GPS 1126259446.000000000")


def test_a_long_log_that_is_still_read_is_said(shared, open_page):
    shown = shared.request("GET", "/status.json").json() | {"reading": [50_000, 120_000]}
    page = open_page(shared.url("/"))
    serve(page, shown)
    wait_to_contain(page, "#reading", "Reading the log: 50,000 of 120,000 segments.")


def test_name_version_links_events_and_older_archives(new_store, open_page):
    store = new_store("embedded", STORE_NAME="Virgo O5 <b>")
    for n in range(1, 23):
        store.stored(segment(n))
        store.cleanall()
    store.send(b"not a segment")
    page = open_page(store.url("/"))
    wait_for(page, "#name", "Virgo O5 <b>")
    assert page.title() == "0 % · Virgo O5 <b>"
    assert page.inner_text("#version") == store.request("GET", "/status.json").json()["version"]
    assert page.locator("#links a").evaluate_all("all => all.map(a => a.getAttribute('href'))") == [
        "docs", "products", "metrics",
    ]  # fmt: skip
    wait_to_contain(page, "#events", "1 request refused: not readable (ERRFMT)")
    wait_to_contain(page, "#events", "Batch 22 archived as")
    assert page.locator("#archives tr").count() == 20
    page.click("#older")
    from playwright.sync_api import expect

    expect(page.locator("#archives tr")).to_have_count(22)
    assert page.locator("#older").is_hidden()
    assert page.inner_text("#archives tr:last-child td >> nth=0") == "1"
    assert "1126259446" in page.inner_text("#archives tr:last-child")


# -- the state is the answer's --------------------------------------------------------------------------------------


ANSWERS = [
    (507, '{"code":"ERRIO","body":"datavar is full"}', "VOLUME REFUSES", "Make room"),
    (503, '{"code":"RECOVERING","body":"The store is replaying its journal."}', "STARTING", "nothing to do"),
    (503, '{"code":"DAMAGED","body":"damaged at byte 7"}', "DAMAGED", "call the operator"),
    (502, '{"code":"UPSTREAM","body":"http://stats answers not"}', "SERVICE AWAY", "service behind"),
    (403, '{"code":"ERRSCOPE","body":"ada needs the scope"}', "NOT ALLOWED", "scope `read`"),
    (504, "<html>upstream timeout</html>", "ANSWERS 504", "a proxy"),
]


def test_each_answer_has_its_state_and_says_what_to_do(shared, open_page):
    """The last known figures stay readable, and are marked as old."""
    shared.stored(strain(0, 16))
    page = open_page(shared.url("/"), expected="Failed to load resource")
    wait_for(page, "#files", "1")
    for status, body, state, advice in ANSWERS:
        serve(page, status=status, body=body)
        wait_for(page, "#state", state)
        assert advice in page.inner_text("#note")
        assert page.inner_text("#files") == "1"
        assert "The figures below are old" in page.inner_text("#stale")
        assert page.evaluate("getComputedStyle(document.querySelector('main')).opacity") == "1"
    page.unroute_all()
    wait_for(page, "#state", "OPERATIONAL")
    assert page.locator("#stale").is_hidden()


def test_a_damaged_store_is_not_unreachable(new_store, open_page):
    store = new_store("embedded")
    store.stored(segment())
    store.stored(segment(4))
    store.writer.stop()
    lines = store.journal.read_bytes().splitlines(keepends=True)
    store.journal.write_bytes(lines[0] + lines[1].replace(b'"n":3', b'"n":4') + lines[2])
    (store.root / "appdata" / "adm" / "checkpoint").unlink(missing_ok=True)
    store.writer.start("/health/liveness")
    page = open_page(store.url("/"), expected="Failed to load resource")
    wait_for(page, "#state", "DAMAGED")
    assert "damaged at byte" in page.inner_text("#note")


def test_a_store_that_is_away_is_shown_so_and_recovers(new_store, topology, open_page):
    store = new_store(topology, upper=True)
    store.stored(strain(0))
    page = open_page(store.url("/"), expected="Failed to load resource")
    wait_for(page, "#state", "OPERATIONAL")
    away = store.processes["datastore" if topology == "embedded" else "stats"]
    away.stop()
    wait_for(page, "#state", "UNREACHABLE" if topology == "embedded" else "SERVICE AWAY")
    assert page.inner_text("#files") == "1"
    away.start("/health/readiness")
    wait_for(page, "#state", "OPERATIONAL")


# -- operating the store --------------------------------------------------------------------------------------------


def test_without_authentication_the_page_freezes_and_cleans_and_says_which_batch(services, open_page):
    services.stored(strain(0, 16))
    number = number_of(services)
    page = open_page(services.url("/"), "409")
    wait_for(page, "#files", "1")
    page.click("#freeze")
    assert focused(page) == "no"
    assert page.inner_text("#ask-title") == f"Freeze batch {number}?"
    assert "1 segment" in page.inner_text("#ask-list")
    assert "not large enough" in page.inner_text("#ask-list")
    page.click("#yes")
    wait_to_contain(page, "#ask-text", "Waiting for more incoming data. The batch stays open.")
    page.keyboard.press("Enter")
    services.stored(strain(1))
    wait_for(page, "#files", "2")
    page.click("#freeze")
    page.click("#yes")
    wait_for(page, "#state", "FROZEN")
    assert page.is_disabled("#freeze")
    page.click("#clean")
    assert focused(page) == "no"
    assert page.inner_text("#ask-title") == f"Clean batch {number}?"
    assert "2 segments" in page.inner_text("#ask-text")
    page.keyboard.press("Enter")  # which is Cancel
    assert services.stat()["n_itm"] == 2
    page.click("#clean")
    services.cleanall()  # by somebody else: this dialog is not about the batch that is open now
    services.stored(segment(9))
    page.click("#yes")
    wait_to_contain(page, "#ask-text", "Somebody has archived the batch meanwhile")
    page.keyboard.press("Enter")
    assert services.stat()["n_itm"] == 1


def with_tokens(folder: Path) -> dict[str, str]:
    entries = [(SECRET, "ada", "read,write,operate"), (READERS, "rea", "read")]
    lines = [f"sha256:{hashlib.sha256(secret.encode()).hexdigest()} {who} {may}\n" for secret, who, may in entries]
    (folder / "tokens").write_text("".join(lines))
    return {"AUTH_TOKENS": str(folder / "tokens"), "MAX_SIZE": "1"}


def test_with_authentication_the_page_asks_for_a_token_and_operates_the_store(new_store, tmp_path, open_page):
    store = new_store("embedded", **with_tokens(tmp_path))
    store.stored(strain(0), {"Authorization": f"Bearer {SECRET}"})
    page = open_page(store.url("/stat").removesuffix("stat"), "401")
    page.wait_for_selector("#ask[open]")
    page.fill("#token", "wrong")
    page.click("#yes")
    wait_to_contain(page, "#ask-text", "not known here")
    page.fill("#token", READERS)
    page.click("#yes")
    wait_for(page, "#state", "OPERATIONAL")
    wait_for(page, "#who", "rea may read")
    assert page.is_hidden("#freeze")
    assert page.is_hidden("#clean")
    page.click("#forget")
    page.wait_for_selector("#ask[open]")
    page.fill("#token", SECRET)
    page.click("#yes")
    wait_for(page, "#who", "ada may operate, read, write")
    assert page.is_hidden("#warning")
    page.click("#channel-list .name")
    with page.expect_download() as download:
        page.click("#view-links a >> text=CSV")
    assert download.value.suggested_filename.endswith(".csv")
    assert len(download.value.path().read_text().splitlines()) == 300
    wait_for(page, "#view-done", "CSV is downloaded.")
    page.keyboard.press("Escape")
    page.click("#freeze")
    assert page.is_hidden("#token")
    page.click("#no")
    page.click("#freeze")
    assert "no segment" in page.inner_text("#ask-text")
    page.click("#yes")
    wait_for(page, "#state", "FROZEN")
    wait_for(page, "#user", "ada")
    page.click("#clean")
    page.click("#yes")
    wait_for(page, "#state", "OPERATIONAL")
    wait_for(page, "#files", "0")
    assert SECRET not in page.content()
    assert page.evaluate("localStorage.length") == 0
    page.click("#forget")
    page.wait_for_selector("#ask[open]")
    assert page.evaluate("sessionStorage.length") == 0


def test_where_reading_is_public_a_token_is_asked_for_when_it_is_needed(new_store, tmp_path, open_page):
    store = new_store("embedded", AUTH_PUBLIC_READ="true", **with_tokens(tmp_path))
    store.stored(strain(0), {"Authorization": f"Bearer {SECRET}"})
    page = open_page(store.url("/"), "Failed to load resource")
    wait_for(page, "#files", "1")
    for given, said in (("wrong", "not known here"), (READERS, "scope `operate`")):
        page.click("#freeze")
        page.fill("#token", given)
        page.click("#yes")
        wait_for(page, "#ask-title", "Not done")
        assert said in page.inner_text("#ask-text")
        page.keyboard.press("Enter")
    wait_for(page, "#who", "rea may read")
    assert page.is_hidden("#freeze")


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
    assert page.is_hidden("#freeze")
    assert page.is_hidden("#clean")


# -- spectrograms ---------------------------------------------------------------------------------------------------


def noise(store: Store, *channels: str) -> None:
    import random

    dice = random.Random(1)
    bodies = []
    for channel in channels:
        for i in range(4):
            h = [dice.gauss(0, 1e-21) for _ in range(1024)]
            bodies.append(("", json.dumps({"h": h, "t": [1000 + i / 4, 1 / 4096], "channel": channel}).encode()))
    with ThreadPoolExecutor(1) as apart:  # playwright has an event loop of its own in this thread
        sent = apart.submit(post_all, store.url("/sendF"), bodies, 4).result()
    assert {one.status for one in sent} == {201}


def stopped_child(process) -> int:
    for pid in process.children():
        if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T":
            return pid
    return 0


@needs_preproc
def test_cleaning_waits_for_the_spectrograms_and_the_archive_shows_them(new_store, open_page):
    store = new_store("embedded", PREPROC="auto", FAILPOINTS="preproc.half=stop@2", MAX_SIZE="1")
    noise(store, "H1:a", "V1:b")
    page = open_page(store.url("/"), expected="404")  # pictures of a batch that is archived while they load
    wait_for(page, "#preproc", "They are made when the batch is frozen.")
    store.freeze("ada", "x")
    wait_for(page, "#preproc", "Being made: 1 of 2 pieces of strain.")
    while not stopped_child(store.writer):
        page.wait_for_timeout(50)
    page.click("#clean")
    wait_to_contain(page, "#ask-list", "would be lost. Being made: 1 of 2 pieces of strain.")
    page.click("#wait")
    wait_to_contain(page, "#waiting", "Batch 1 is cleaned when its spectrograms are there")
    assert store.dstat()["dstatus"] == "FROZEN"
    os.kill(stopped_child(store.writer), signal.SIGCONT)
    wait_for(page, "#done", "Done: batch 1 is archived with its spectrograms.")
    wait_for(page, "#fill-title", "Batch 2")
    page.click("#archives button")
    wait_to_contain(page, "#of-archive", "Shown are those of batch 1")
    page.select_option("#picture-order", "channel")
    captions = page.locator("#pictures li").all_inner_texts()
    assert [caption.splitlines()[0] for caption in captions] == ["H1:a", "V1:b"]
    assert all("GPS 1000.1250 " in caption and "1000.8750 (0.75" in caption for caption in captions)
    assert all("loudest: " in caption and " Hz at GPS 1000." in caption for caption in captions)
    while not all(page.locator("#pictures img").evaluate_all("all => all.map((image) => image.naturalWidth)")):
        page.wait_for_timeout(50)
    page.click("#back")
    assert page.locator("#pictures li").count() == 0
    page.click("#channel-list .name >> text=V1:b")
    assert page.wait_for_selector("#view-picture img").get_attribute("alt").startswith("Spectrogram of V1:b, GPS 1000")
    view(page, "900", "1")
    wait_to_contain(page, "#view-about", "there is no strain of V1:b")
    assert page.locator("#view-picture img").count() == 0

    [archive] = store.archives()
    shutil.rmtree(archive / "products")
    wait_for(page, "#archives button", "Make")
    page.click("#archives button")
    while not stopped_child(store.writer):
        page.wait_for_timeout(50)
    os.kill(stopped_child(store.writer), signal.SIGCONT)
    wait_for(page, "#archives button", "Show (done)")


def test_pictures_are_shown_when_there_are_some(new_store, open_page):
    store = new_store("embedded")
    page = open_page(store.url("/"))
    wait_for(page, "#preproc", "Off: PREPROC is off, POST /preproc makes them.")
    assert page.locator("#pictures li").count() == 0
    put_product(store.root / "datavar" / "products", "H1.png", PNG)
    page.wait_for_selector("#pictures img")
    assert page.get_attribute("#pictures a", "href") == "/products/H1.png"


SETS = [
    {
        "name": "loud",
        "state": "done",
        "batch": 3,
        "events": 2,
        "left_out": 1,
        "size": 5_000_000,
        "url": "/datasets/loud",
    },
    {"name": "a", "state": "done", "batch": 12, "events": 7, "left_out": 0, "size": 70, "url": "/datasets/a"},
    {"name": "next", "state": "working", "step": "events", "done": 1, "total": 4, "url": "/datasets/next"},
]
LOUD = {
    "events": [
        {"name": "10.5", "gps": 10.5, "file": "events/10.5.hdf5", "energy": 31.0, "frequency": 60.0},
        {"name": "20.5", "gps": 20.5, "file": "events/20.5.hdf5", "energy": 640.0, "frequency": 90.0},
    ],
    "left_out": [{"name": "30.5", "gps": 30.5, "reason": "incomplete", "energy": 99.0, "frequency": 20.0}],
}


def wait_for_sets(page) -> None:
    """Have the page request the list of sets anew, which it does every ten seconds."""
    page.clock.install()
    page.clock.run_for(11_000)
    look(page)
    page.wait_for_selector("#sets td")


def wait_for_image(page, selector) -> None:
    while not page.evaluate(f"document.querySelector({selector!r}).naturalWidth"):
        page.wait_for_timeout(20)


def test_the_loud_one_is_found_among_many_channels(shared, open_page):
    shown = shared.request("GET", "/status.json").json()
    shown["pictures"] = [
        {
            "name": f"V1-C{i}/spectrogram.png", "url": f"/assets/icon.svg?{i}",
            "thumbnail": f"/assets/icon.svg?small-{i}", "channel": f"V1:C{i}", "span": [1000.0 + i, 1001.0 + i],
            "loudest": {"gps": 1000.5, "frequency": 60.0, "energy": 900.0 if i == 137 else 20 + i / 100},
        }
        for i in range(240)
    ]  # fmt: skip
    shown |= {"overview": "/assets/icon.svg?overview", "summary": "/products/summary.html"}
    loaded = []
    page = open_page(shared.url("/"), viewport={"width": 390, "height": 800})
    page.on("request", lambda request: loaded.append(request.url.partition("?")[2]))
    serve(page, shown)
    wait_to_contain(page, "#more-pictures", "Show 228 more spectrograms")

    def names():
        return page.locator("#pictures li span span:first-child").all_inner_texts()

    assert names()[:2] == ["V1:C137", "V1:C239"]
    assert page.get_attribute("#pictures a", "href") == "/assets/icon.svg?137"
    page.click("#more-pictures")
    assert len(names()) == 240
    page.locator("#pictures img >> nth=0").scroll_into_view_if_needed()
    wait_for_image(page, "#pictures img")
    assert "small-137" in loaded
    assert "137" not in loaded
    assert "overview" not in loaded
    assert sum(one.startswith("small-") for one in loaded) < 30  # the others are not in sight
    page.click("#overview summary")
    wait_for_image(page, "#overview-picture")
    page.select_option("#picture-order", "channel")
    assert names()[:2] == ["V1:C0", "V1:C1"]
    page.select_option("#picture-order", "newest")
    assert names()[:2] == ["V1:C239", "V1:C238"]
    page.fill("#picture-search", "c23")
    assert names()[0] == "V1:C239"
    assert len(names()) == 11
    page.fill("#picture-search", "H1")
    assert page.is_visible("#no-pictures")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_training_sets_are_listed_and_sorted_with_their_loudest_events(shared, open_page):
    page = open_page(shared.url("/"))
    page.route("**/datasets", lambda route: route.fulfill(body=json.dumps({"datasets": SETS})))
    page.route("**/datasets/loud", lambda route: route.fulfill(body=json.dumps(LOUD)))
    wait_for_sets(page)

    def first(table):
        return [line.split("\t")[0] for line in page.locator(f"{table} tbody tr").all_inner_texts()]

    assert first("#sets") == ["a", "loud", "next"]
    assert "events: 1 of 4" in page.inner_text("#sets tbody")
    page.click("#sets th button >> text=Size")
    assert first("#sets") == ["loud", "a", "next"]
    page.click("#sets th button >> text=Size")
    assert first("#sets") == ["a", "loud", "next"]  # what has no size stays last
    assert page.get_attribute("#sets th:has-text('Size')", "aria-sort") == "ascending"
    assert page.get_attribute("#sets a", "href") == "/datasets/a.tar"
    page.click("#sets button >> text=2")
    page.wait_for_selector("#set-events td")
    assert first("#set-events") == ["20.5000", "30.5000", "10.5000"]
    assert "incomplete" in page.inner_text("#set-events tbody tr >> nth=1")
    assert page.get_attribute("#set-events a", "href") == "/datasets/loud/events/20.5.hdf5"
    page.click("#set-events th button >> text=GPS")
    page.click("#set-events th button >> text=GPS")
    assert first("#set-events") == ["10.5000", "20.5000", "30.5000"]


# -- channels and viewer ---------------------------------------------------------------------------------------------

T0, RATE = 1126259446, 4096


def send_all(store: Store, bodies: list[bytes]) -> None:
    with ThreadPoolExecutor(1) as apart:  # playwright has an event loop of its own in this thread
        sent = apart.submit(post_all, store.url("/sendF"), [("", body) for body in bodies], 16).result()
    assert {one.status for one in sent} == {201}


def noisy(first: int, n: int, channel: str) -> bytes:
    """`n` samples of noise from sample `first` behind T0 on."""
    dice = random.Random(first)
    h = [dice.gauss(0, 1e-21) for _ in range(n)]
    return json.dumps({"h": h, "t": [T0 + first / RATE, 1 / RATE], "channel": channel}).encode()


def table(page, element: str) -> list[list[str]]:
    rows = page.locator(f"{element} tbody tr")
    return rows.evaluate_all("all => all.map((row) => [...row.cells].map((cell) => cell.textContent))")


def view(page, start: str, seconds: str) -> None:
    page.fill("#view-start", start)
    page.fill("#view-seconds", seconds)
    page.press("#view-seconds", "Enter")


def direct_density(n: int, *runs: list[float]) -> list[float]:
    """Welch's method by the definition of the transform: the density of each frequency but 0, of runs without a gap."""
    hann = [0.5 - 0.5 * math.cos(2 * math.pi * i / n) for i in range(n)]
    power = [0.0] * (n // 2 + 1)
    segments = [h[start : start + n] for h in runs for start in range(0, len(h) - n + 1, n // 2)]
    for part in segments:
        mean = sum(part) / n
        x = [(value - mean) * w for value, w in zip(part, hann, strict=True)]
        for k in range(n // 2 + 1):
            power[k] += abs(sum(v * cmath.exp(-2j * math.pi * k * i / n) for i, v in enumerate(x))) ** 2
    scale = 1 / (RATE * sum(w * w for w in hann) * len(segments))
    return [math.sqrt(p * scale * (2 if k < n // 2 else 1)) for k, p in enumerate(power)][1:]


def test_thousands_of_channels_are_found_and_gaps_are_told_to_the_sample(shared, open_page):
    from playwright.sync_api import expect

    send_all(shared, [segment(4, channel=f"V1:ENV_{i:04}") for i in range(2000)])
    send_all(shared, [noisy(first, 96, "V1:Hrec") for first in (0, 133, 4096)])
    page = open_page(shared.url("/"))
    names = page.locator("#channel-list .name")
    expect(names).to_have_count(50)
    page.fill("#channel-search", "V1:ENV_1*")
    expect(names.first).to_have_text("V1:ENV_1000")
    wait_to_contain(page, "#channels-about", "The first 50 channels.")
    page.locator("#more-channels").scroll_into_view_if_needed()
    expect(names).to_have_count(100)
    assert names.nth(99).inner_text() == "V1:ENV_1099"
    page.fill("#channel-search", "env_199")
    wait_to_contain(page, "#channels-about", "10 channels.")
    page.fill("#channel-search", "no such name")
    wait_for(page, "#channels-about", "No channel matches “no such name”.")
    page.fill("#channel-search", "hREC")
    wait_to_contain(page, "#channels-about", "1 channel. Bars are from GPS 1126259446 \u2013 1126259447.0234375")
    assert "2015-09-14 09:50:29 \u2013 2015-09-14 09:50:30.023 UTC, 2 gaps" in page.inner_text(".channel")
    assert re.search(r"[0-9.]+ years behind real time", page.inner_text(".channel"))
    assert page.get_attribute(".channel svg", "aria-label") == "Coverage of V1:Hrec: 0.07 s of strain, 2 gaps"
    path = page.locator(".channel path")
    expect(path).to_have_attribute("d", re.compile("."))
    drawn = [tuple(map(int, run)) for run in re.findall(r"M(\d+) 10V\d+H(\d+)", path.get_attribute("d"))]
    spans = shared.request("GET", "/coverage", query="?channel=V1:Hrec").json()
    covered = {i for low, high in drawn for i in range(low, high)}
    width = (spans["known"][1] - T0) / 500
    assert covered == {
        i for i in range(500) if any(a - T0 < (i + 1) * width and b - T0 > i * width for a, b in spans["active"])
    }
    page.select_option("#channel-time", "60")  # which is longer than all of it
    assert path.get_attribute("d").count("M") == len(drawn)

    page.focus("#channel-list .name")
    page.keyboard.press("Enter")
    wait_to_contain(page, "#view-title", "V1:Hrec, 4096 Hz")
    page.focus("#view-spans summary")
    page.keyboard.press("Enter")
    expect(page.locator("#view-spans tbody tr")).to_have_count(5)
    told = [(what, float(begin), float(end), samples) for what, begin, end, _, _, samples in table(page, "#view-spans")]
    active, missing = spans["active"], spans["gaps"]
    assert told == [
        ("strain", *active[0], "96"), ("gap", *missing[0], "37"), ("strain", *active[1], "96"),
        ("gap", *missing[1], "3,867"), ("strain", *active[2], "96"),
    ]  # fmt: skip
    page.keyboard.press("Escape")
    assert page.is_hidden("#viewer")
    assert page.evaluate("document.activeElement.textContent") == "V1:Hrec"
    page.keyboard.press("Enter")
    page.fill("#channel-search", "ENV_0007")  # the channel that is shown is listed no more
    expect(names).to_have_text(["V1:ENV_0007"])
    page.click("#view-close")
    assert page.is_hidden("#viewer")
    assert focused(page) == "channel-search"


def test_the_viewer_shows_what_the_store_answers_and_links_to_it(shared, open_page):
    send_all(shared, [noisy(first, 96, "V1:view") for first in (0, 133)])
    page = open_page(shared.url("/"), expected="Failed to load resource")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.fill("#channel-search", "V1:view")
    wait_to_contain(page, "#channels-about", "1 channel.")
    page.click("#channel-list .name")
    wait_to_contain(
        page, "#view-about", "192 samples at 4096 Hz from GPS 1126259446.000000000 (2015-09-14 09:50:29 UTC)"
    )
    wait_to_contain(page, "#view-about", "; 37 are missing.")
    assert "09:50:29.055" in page.inner_text("#view-span")
    assert page.locator("#view-strain canvas").is_visible()
    runs = [json.loads(noisy(first, 96, ""))["h"] for first in (0, 133)]
    density = direct_density(64, *runs)
    loudest = [max(density[i : i + 2]) for i in range(0, 32, 2)]
    page.click("#view-asd-values summary")
    shown = [float(value) for _, _, value in table(page, "#view-asd-values")]
    assert shown == pytest.approx(loudest, rel=1e-9, abs=0)
    assert "gaps=nan" in page.locator("#view-links a").first.get_attribute("href")

    def strain_of(query: str):
        return shared.request("GET", "/strain", query=f"?channel=V1:view&{query}")

    view(page, f"{T0}.0009765625", "0.005859375")
    wait_to_contain(page, "#view-about", "24 samples at 4096 Hz")
    page.click("#view-values summary")
    h = strain_of(f"start={T0}.0009765625&duration=0.005859375").json()["h"]
    assert [(float(low), float(high)) for _, low, high, _ in table(page, "#view-values")] == [(v, v) for v in h]
    view(page, str(T0), "0.01171875")
    wait_to_contain(page, "#view-about", "48 samples at 4096 Hz")
    h = strain_of(f"start={T0}&duration=0.01171875").json()["h"]
    assert page.inner_text("#view-about").endswith(f"from {_digits(min(h))} to {_digits(max(h))}.")
    assert "2 Hann-windowed segments of 32 samples" in page.inner_text("#view-asd-about")
    bins = [[float(cell) for cell in row] for row in table(page, "#view-asd-values")]
    assert [row[:2] for row in bins] == [[(k + 1) * RATE / 32] * 2 for k in range(16)]
    assert [row[2] for row in bins] == pytest.approx(direct_density(32, h), rel=1e-9, abs=0)
    assert page.is_visible("#view-no-picture")

    links = page.locator("#view-links a").evaluate_all("all => all.map((a) => [a.textContent, a.href])")
    assert [text for text, _ in links] == ["HDF5", "GWF", "CSV"]
    for text, url in links:
        answer = strain_of(f"start={T0}&duration=0.01171875&format={text.lower()}")
        linked = shared.request("GET", "/strain", query=url.removeprefix(shared.url("/strain")))
        assert (linked.status, linked.data) == (answer.status, answer.data)
    with page.expect_download() as download:
        page.click("#view-links a >> text=CSV")
    assert [float(line.split(",")[1]) for line in download.value.path().read_text().splitlines()] == h
    page.click("#view-copy")
    wait_for(page, "#view-done", "Copied.")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("from gwpy.timeseries import TimeSeries; data = TimeSeries.read(")
    assert json.dumps(links[0][1]) in copied

    for start, seconds, said in (
        ("1126259400", "1", "there is no strain of V1:view from 1126259400 to 1126259401"),
        ("yesterday", "1", "in decimal digits"),
        (str(T0), "300", "1,048,576 samples at the most, which is 256.000 s"),
    ):
        view(page, start, seconds)
        wait_to_contain(page, "#view-about", said)
        assert page.is_hidden("#view-strain")


def _digits(value: float) -> str:
    """As toExponential() of JavaScript."""
    mantissa, exponent = f"{Decimal(repr(value)):e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def test_where_another_function_serves_the_channels_the_page_says_so(services, open_page):
    services.stored(strain(0, channel="H1:GDS"))
    page = open_page(services.url("/"), expected="404")
    if services.topology == "embedded":
        wait_to_contain(page, "#channels-about", "Bars are from GPS")
        return
    wait_to_contain(page, "#channels-about", "perhaps at this address too: Search asks it.")
    page.click("#channel-form button")
    wait_to_contain(page, "#channels-about", "not served at this address")


def test_utc_counts_leap_seconds(shared, open_page):
    page = open_page(shared.url("/"))
    told = page.evaluate("""() => import("./assets/gpstime.js").then(({ utcOf, gpsOf }) => [
        ...[0, 46828800, 1126259446, 1167264016.5, 1167264017.5, 1167264018, 1400000000].map(utcOf),
        gpsOf(Date.UTC(2016, 11, 31, 23, 59, 59)), gpsOf(Date.UTC(2017, 0, 1)),
    ])""")
    assert told == [
        "1980-01-06 00:00:00", "1981-06-30 23:59:60", "2015-09-14 09:50:29", "2016-12-31 23:59:59.500",
        "2016-12-31 23:59:60.500", "2017-01-01 00:00:00", "2024-05-17 16:53:02", 1167264016, 1167264018,
    ]  # fmt: skip


# -- everybody -------------------------------------------------------------------------------------------------------


def test_the_page_fits_a_phone_and_the_keyboard(shared, open_page):
    for channel in ("H1:GDS", "H1:GDS", "H1:a_channel_with_a_name_that_is_wider_than_a_phone_because_they_are"):
        shared.stored(strain(number_of(shared), channel=channel))
    page = open_page(shared.url("/"), viewport={"width": 390, "height": 844}, has_touch=True)
    wait_for(page, "#files", "3")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    reached = set()
    page.wait_for_selector("#channel-list .name >> nth=1")
    for _ in range(16):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.getAttribute('aria-label')"))
        if page.evaluate("document.activeElement.className") == "name":
            page.keyboard.press("ArrowDown")
            assert page.evaluate("document.activeElement === document.querySelectorAll('.name')[1]")
    assert {"freeze", "clean", "bar", "channel-search", "Table of events", "Table of archives"} <= reached
    page.press("#channel-list .name >> nth=1", "Enter")
    page.wait_for_selector("#view-strain canvas")
    page.click("#view-spans summary")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    for heading in ("#view-strain", "#view-gwpy"):
        assert page.locator(heading).bounding_box()["width"] > 100


def test_axe_finds_nothing_in_any_state_and_theme(shared, open_page):
    package = importlib.util.find_spec("axe_playwright_python")
    if package is None or not package.submodule_search_locations:
        pytest.skip("needs axe-core: make test BROWSER=1")
    axe = (Path(package.submodule_search_locations[0]) / "axe.min.js").read_text()
    shared.stored(strain(0, channel="H1:GDS"))
    shared.cleanall()
    shared.stored(strain(1, channel="H1:GDS"))
    page = open_page(shared.url("/"), expected="Failed to load resource")
    wait_for(page, "#files", "1")
    page.click("#channel-list .name >> text=H1:GDS")
    page.wait_for_selector("#view-asd canvas")
    opened = ("#view-values", "#view-asd-values", "#view-spans")
    for values in ("#strain-values", "#rates-values", "#raw", *opened):
        page.click(f"{values} > summary")
    operational = shared.request("GET", "/status.json").json()
    picture = {"name": "H1.png", "url": "/assets/icon.svg", "channel": "H1:GDS", "span": [1000.0, 1001.0]}
    running = {"state": "running", "since": "2026-11-28T09:00:00Z", "done": 1, "of": 3, "reason": ""}
    pictures = [picture, {**picture, "channel": "V1:b", "thumbnail": "/assets/icon.svg"}]
    of_all = {"overview": "/assets/icon.svg", "summary": "/assets/icon.svg"}
    frozen = {**operational, "state": "FROZEN", "pictures": pictures, "preproc": running, "reading": [1, 2], **of_all}
    page.route("**/datasets", lambda route: route.fulfill(body=json.dumps({"datasets": SETS})))
    page.route("**/datasets/loud", lambda route: route.fulfill(body=json.dumps(LOUD)))
    wait_for_sets(page)
    page.click("#sets button >> text=2")
    page.wait_for_selector("#set-events td")
    states = {
        "OPERATIONAL": (200, json.dumps(operational)), "FROZEN": (200, json.dumps(frozen)),
        **{state: (status, body) for status, body, state, _ in (ANSWERS[0], ANSWERS[1], ANSWERS[4])},
        "UNREACHABLE": (200, ""),
    }  # fmt: skip

    def check(what, *rules):
        only = f", runOnly: {list(rules)}" if rules else ""
        found = page.evaluate(f"axe.run({{resultTypes: ['violations']{only}}}).then((result) => result.violations)")
        assert [(v["id"], [node["html"][:120] for node in v["nodes"]]) for v in found] == [], what

    page.evaluate(axe)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        for state, (status, body) in states.items():
            serve(page, status=status, body=body)
            wait_for(page, "#state", state)
            structure = scheme == "light" and state in ("OPERATIONAL", "FROZEN", "LOCKED")  # else colours differ alone
            check(f"{state}, {scheme}", *([] if structure else ["color-contrast"]))
            if state == "FROZEN":
                page.click("#clean")
                check(f"dialog, {scheme}", *([] if structure else ["color-contrast"]))
                page.click("#no")


def test_the_documentation_shows_every_route(shared, open_page):
    page = open_page(shared.url("/docs"))
    page.wait_for_selector(".opblock-summary-path")
    shown = set(page.locator(".opblock-summary-path").evaluate_all("all => all.map(e => e.dataset.path)"))
    assert {"/stats", "/dumpbuf", "/desc", "/dspage", "/train", "/streamdata", "/cleanbuf"} <= shown
