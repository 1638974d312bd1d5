"""Pictures of the status page for the documentation, `python -m tests.support.screenshots FOLDER`.

A store with twelve channels, two archives and the spectrograms of a frozen batch, in a temporary folder; each width in
both themes. Colours are reduced to a palette, so that the files are small.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.support.load import post_all
from tests.support.page import CHROMIUM, QUIET, strain
from tests.support.servers import Store

WIDTHS = {1440: 1000, 768: 1024, 390: 844}
CHANNELS = [
    f"{detector}:{name}"
    for detector, names in {
        "H1": ("GDS-CALIB_STRAIN", "LSC-DARM_OUT", "PEM-CS_MAG", "ASC-Y_TR"),
        "L1": ("GDS-CALIB_STRAIN", "LSC-DARM_OUT", "PEM-CS_MAG", "ASC-Y_TR"),
        "V1": ("Hrec_hoft_16384Hz", "LSC_DARM", "ENV_MAG_N", "SUS_NE"),
    }.items()
    for name in names
]
T0 = 1126259446.0
COLORS = 64


def fill(store: Store, seconds: float) -> None:
    """Send all channels, `seconds` of noise each; the last one has a chirp in it."""
    dice = random.Random(1)
    bodies = []
    for i in range(int(seconds * 4)):
        for channel in CHANNELS[:-1]:
            h = [dice.gauss(0, 1e-21) for _ in range(1024)]
            bodies.append(("", json.dumps({"h": h, "t": [T0 + i / 4, 1 / 4096], "channel": channel}).encode()))
    for start in range(0, len(bodies), 48):
        with ThreadPoolExecutor(1) as apart:  # playwright has an event loop of its own in this thread
            apart.submit(post_all, store.url("/sendF"), bodies[start : start + 48], 4).result()
        time.sleep(0.4)  # so that the last minute is worth a look
    for i in range(int(seconds * 4096 / 300)):
        segment = json.loads(strain(i, detector="V1", channel=CHANNELS[-1]))
        segment["h"] = [sample + dice.gauss(0, 3e-23) for sample in segment["h"]]
        store.stored(json.dumps(segment).encode())


@contextlib.contextmanager
def prepared(folder: Path, *, spectrograms: bool) -> Iterator[Store]:
    """A running store with something to show."""
    env = {"STORE_NAME": "Virgo, engineering run", "MAX_SIZE": "3000000", "PREPROC": "auto" if spectrograms else "off"}
    with Store("embedded", folder / "store", **env) as s:
        for user in ("airflow", "ada"):
            fill(s, 0.5)
            s.freeze(user, "x")
            s.cleanall()
        s.send(b"not a segment")
        fill(s, 2)
        yield s


def wait_for(store: Store, state: str) -> None:
    """Wait until preproc has this state."""
    while store.request("GET", "/status.json").json()["preproc"]["state"] != state:
        time.sleep(0.2)


def shoot(what, path: Path, **options) -> None:
    """Take a picture of a page or of an element, with playwright's options, and reduce its colours."""
    what.screenshot(path=str(path), **options)
    from PIL import Image

    with Image.open(path) as picture:
        reduced = picture.convert("RGB").quantize(COLORS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        reduced.save(path, optimize=True)


def main(folder: Path) -> int:
    """Take all pictures; the exit code is 0 when they are there."""
    if importlib.util.find_spec("playwright") is None or not os.path.exists(CHROMIUM):
        print(f"needs playwright and a browser at {CHROMIUM}: install chromium, or set CHROMIUM")
        return 1
    from playwright.sync_api import sync_playwright

    folder.mkdir(parents=True, exist_ok=True)
    spectrograms = importlib.util.find_spec("gwpy") is not None
    with (
        tempfile.TemporaryDirectory() as temporary,
        prepared(Path(temporary), spectrograms=spectrograms) as store,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        views = []
        for width, height in WIDTHS.items():
            for scheme in ("light", "dark"):
                page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
                page.goto(store.url("/"))
                page.wait_for_selector("#strain canvas")
                views.append((page, width, scheme))
        for page, width, scheme in views:
            page.wait_for_timeout(500)  # the bar is still moving
            shoot(page, folder / f"page-{width}-{scheme}.png", full_page=width < 1440)
        for page, width, scheme in views:
            if width == 1440:
                page.click("#channel-list .name >> text=Hrec")
                page.wait_for_selector("#view-asd canvas")
                shoot(page.locator("#channels-section"), folder / f"channels-{width}-{scheme}.png")
                page.keyboard.press("Escape")
        if spectrograms:
            store.freeze("airflow", "x")
            wait_for(store, "done")
            for page, width, scheme in views:
                if width != 1440:
                    continue
                page.wait_for_selector("#pictures li >> nth=11")
                page.wait_for_load_state("networkidle")
                shoot(page, folder / f"frozen-{width}-{scheme}.png", full_page=True)
        browser.close()
    for path in sorted(folder.glob("*.png")):
        print(f"{path}  {path.stat().st_size // 1024} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
