"""GET /archives: what is told of each archive and of the open batch, in pages; and what Logic makes of it."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from urllib.parse import quote

from tests.support.builders import segment
from tests.support.servers import Store


def archives(store: Store, query: str = "") -> dict:
    answer = store.request("GET", "/archives", query=query)
    assert answer.status == 200, answer.data
    return answer.json()


def status(store: Store, holds) -> dict:
    """The page's figures once they are as they should be: they are made anew twice a second."""
    deadline = time.monotonic() + 10
    while not holds(shown := store.request("GET", "/status.json").json()):
        assert time.monotonic() < deadline, shown
        time.sleep(0.1)
    return shown


def test_an_archive_tells_its_batch_span_channels_and_who(services):
    number = archives(services)["open"]["batch"]
    services.stored(segment(4096, t0=1000.0, channel="V1:b"))
    services.stored(segment(4096, t0=1003.0, detector="H1"))
    services.freeze("ada", "x")
    services.freeze("bob", "y")  # recorded, and does not take the first one's place
    assert services.dstat()["user"] == "bob"
    frozen = archives(services)["open"]["frozen"]
    assert (frozen["user"], frozen["batch"]) == ("ada", number)
    shown = status(services, lambda s: s["state"] == "FROZEN")
    assert (shown["frozen"]["user"], shown["user"], shown["batch"]) == ("ada", "bob", number)
    services.cleanall()

    listed = archives(services)
    archive = listed["archives"][0]
    assert archive["name"] == services.archives()[-1].name
    assert (archive["batch"], archive["n_itm"]) == (number, 2)
    assert (archive["span"], archive["channels"]) == ([1000.0, 1004.0], ["H1", "V1:b"])
    assert archive["frozen"]["user"] == "ada"
    assert archive["time"] >= archive["opened"]
    assert [change["what"] for change in archive["changes"]] == ["opened", "frozen", "frozen", "cleaned"]
    assert "reading" not in archive
    assert (listed["open"]["batch"], "frozen" in listed["open"]) == (number + 1, False)
    events = status(services, lambda s: s["batch"] == number + 1)["events"]
    of_this = [(event["what"], event.get("user")) for event in events if event.get("batch") == number]
    assert of_this == [("cleaned", None), ("frozen", "bob"), ("frozen", "ada"), ("opened", None)]
    assert [event["time"] for event in events] == sorted((event["time"] for event in events), reverse=True)
    assert "started" in {event["what"] for event in events}


def test_a_thawed_batch_is_not_frozen_by_whoever_froze_it_before(services):
    services.freeze("ada", "x")
    services.request("POST", "/upddsc", json.dumps({"user": "eve", "token": "x", "dstatus": "OPERATIONAL"}))
    opened = archives(services)["open"]
    assert "frozen" not in opened
    assert [change["what"] for change in opened["changes"]] == ["frozen", "thawed"]
    services.freeze("bob", "y")
    assert archives(services)["open"]["frozen"]["user"] == "bob"


def test_archives_come_in_pages_of_the_length_that_is_asked_for(services):
    for n in range(1, 5):
        services.stored(segment(n))
        services.cleanall()
    whole = [archive["name"] for archive in archives(services, "?limit=1000")["archives"]]
    assert whole[:4] == [folder.name for folder in services.archives()[:-5:-1]]
    found, query = [], "?limit=3"
    while query:
        page = archives(services, query)
        assert len(page["archives"]) == 3 or "next" not in page
        found += [archive["name"] for archive in page["archives"]]
        query = f"?limit=3&after={quote(page['next'])}" if "next" in page else ""
    assert found == whole
    assert len(archives(services)["archives"]) == min(20, len(whole))
    answer = services.request("GET", "/archives", query="?after=none")
    assert (answer.status, answer.json()["code"]) == (400, "ERRFMT")


def test_a_cleanall_of_an_empty_batch_makes_an_archive_as_the_originals_does(services):
    before = len(services.archives())
    services.cleanall()
    archive = archives(services)["archives"][0]
    assert len(services.archives()) == before + 1
    assert (archive["n_itm"], archive["buff_size"]) == (0, 0)
    assert not {"span", "channels"} & archive.keys()


def test_the_last_minute_counts_what_a_cleanall_archived_though_nobody_looked(new_store, topology):
    store = new_store(topology, upper=True)
    for n in range(1, 4):
        store.stored(segment(n))
    store.cleanall()
    store.stored(segment(9))
    shown = status(store, lambda s: sum(s["rates"]) == 4)  # once this second is over
    assert shown["n_itm"] == 1


def test_whoami_says_what_one_may_do(services):
    assert services.request("GET", "/whoami").json() == {"name": "", "scopes": ["operate", "read", "write"]}


def test_whoami_says_it_of_the_credentials_even_where_reading_is_public(new_store, tmp_path: Path):
    secret = "a-token-that-is-long-enough"
    line = f"sha256:{hashlib.sha256(secret.encode()).hexdigest()} ada read,operate\n"
    (tmp_path / "tokens").write_text(line)
    store = new_store("embedded", AUTH_TOKENS=str(tmp_path / "tokens"), AUTH_PUBLIC_READ="true")
    answer = store.request("GET", "/whoami", headers={"Authorization": f"Bearer {secret}"})
    assert answer.json() == {"name": "ada", "scopes": ["operate", "read"]}
    assert store.request("GET", "/whoami").status == 401
    refused = status(store, lambda s: any(event["what"] == "refused" for event in s["events"]))["events"]
    assert {"ERRAUTH"} == {event["code"] for event in refused if event["what"] == "refused"}


def test_names_and_log_of_an_archive_are_listed_page_by_page(services):
    names = [services.stored(segment(n)) for n in range(1, 6)]
    number = archives(services)["open"]["batch"]
    services.cleanall()
    services.stored(segment(6))
    archive = quote(services.archives()[-1].name)

    assert services.request("GET", "/dumpF", query=f"?archive={archive}").json() == {"nmlist": names}
    log = services.request("GET", "/dumpLogF", query=f"?archive={archive}")
    assert [line["name"] for line in log.json()] == names
    assert log.headers["Datastore-Batch"] == str(number)

    found, query = [], f"?archive={archive}&limit=2"
    while query:
        page = services.request("GET", "/dumpF", query=query)
        found.append(page.json()["nmlist"])
        link = page.headers.get("Link")
        query = "?" + link[1:].partition(">")[0].partition("?")[2] if link else ""
    assert found == [names[:2], names[2:4], names[4:]]

    for route in ("/dumpF", "/dumpLogF"):
        for unknown in ("00%2000%2000", "..", "data", "open", "all", str(number)):
            answer = services.request("GET", route, query=f"?archive={unknown}")
            assert (answer.status, answer.json()["code"]) == (404, "ERRFILE"), unknown
        other = services.request("GET", route, query=f"?archive={archive}&batch={number + 1}")
        assert (other.status, other.json()["code"]) == (409, "ERRBATCH")
