"""The page /docs in a browser: all routes, requests that succeed, dark mode, the way back, nothing from elsewhere."""

from __future__ import annotations

import os
import shutil

import pytest

from tests.contract.test_access_table import SECRETS, secured
from tests.support.servers import Process

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("docs")
    env = {"ROOT": str(folder / "store"), "PREPROC": "off", **secured(folder / "etc")}
    env["AUTH_SERVICE_TOKEN"] = ""
    process = Process("datastore", env, forked=True).start()
    yield process
    process.stop()


@pytest.fixture
def open_docs(store):
    """A function that opens /docs; what the browser complains about fails the test."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: make test BROWSER=1")
    if not os.path.exists(CHROMIUM):
        pytest.skip(f"no browser at {CHROMIUM}: install chromium, or set CHROMIUM")
    complaints: list[str] = []
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])

        def open_(**options):
            page = browser.new_context(viewport={"width": 1200, "height": 900}, **options).new_page()
            page.set_default_timeout(20_000)
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
            page.on("request", lambda r: None if r.url.startswith((store.url, "data:")) else complaints.append(r.url))
            page.goto(f"{store.url}/docs")
            page.wait_for_selector(".opblock")
            return page

        yield open_
        browser.close()
    # The status page asks for a token when its first request is refused.
    assert [one for one in complaints if "401" not in one] == []


def test_an_authorised_example_succeeds_at_once(open_docs):
    page = open_docs()
    assert page.locator("#operations-tag-strain, [id='operations-tag-strain']").count()
    page.click("button.authorize")
    page.fill(".auth-container input", SECRETS["write"])
    page.click(".auth-btn-wrapper button.authorize")
    page.click(".auth-btn-wrapper .btn-done")
    page.click("#operations-ingest-sendF .opblock-summary-control")
    page.click("#operations-ingest-sendF button.execute")
    answer = page.locator("#operations-ingest-sendF .live-responses-table .response-col_status").nth(1)
    assert answer.inner_text().startswith("201")


def test_it_leads_back_to_the_status_page(open_docs, store):
    page = open_docs()
    page.click("nav a >> nth=0")
    page.wait_for_url(f"{store.url}/")


@pytest.mark.parametrize(("scheme", "is_dark"), [("light", False), ("dark", True)])
def test_it_is_as_dark_as_the_browser_wants(open_docs, scheme, is_dark):
    page = open_docs(color_scheme=scheme)
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    red, green, blue = map(int, colour.removeprefix("rgb(").removesuffix(")").split(","))
    assert (red + green + blue < 3 * 64) == is_dark
    text = page.evaluate("getComputedStyle(document.querySelector('.opblock-summary-description')).color")
    assert (sum(map(int, text.removeprefix("rgb(").removesuffix(")").split(","))) > 3 * 128) == is_dark
