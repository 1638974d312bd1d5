"""`gwclient verify`: a batch over HTTP, compared with its log."""

from __future__ import annotations

import contextlib
import json
import os
import zlib
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.contract.test_gwclient import gwclient  # noqa: F401 - a fixture
from tests.support import http_server
from tests.support.builders import segment
from tests.support.checks import wait_for


def rows(done) -> dict[str, str]:
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return {row["name"]: row["problem"] for row in found}


def test_what_is_missing_or_altered_is_named(new_store, gwclient):  # noqa: F811
    store = new_store("embedded", HOUSEKEEPING="0.2")
    url = ("--url", store.url("/sendF"), "-o", "json")
    empty = gwclient("verify", *url)
    assert (empty.returncode, empty.stdout) == (0, "")
    names = [store.stored(segment(n)) for n in range(1, 31)]
    done = gwclient("verify", *url)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert "batch 1: 30/30 segments" in done.stderr
    assert "all 30 segments are as they were stored" in done.stderr
    store.stop()  # so that the spool, of which a file would be made again, is removed
    store.start()
    wait_for(lambda: not any(path.stat().st_size for path in (store.root / "datavar/.spool").iterdir()))
    gone, cut, overwritten = (store.data / names[k] for k in (20, 3, 11))
    gone.unlink()
    os.truncate(cut, 20)
    overwritten.write_bytes(b"x" * overwritten.stat().st_size)
    done = gwclient("verify", *url)
    assert done.returncode == 1
    assert list(rows(done)) == [names[3], names[11], names[20]]  # in the order of the log
    assert "20 bytes instead of" in rows(done)[names[3]]
    assert "checksum" in rows(done)[names[11]]
    assert rows(done)[names[20]] == "missing"
    assert "3 of 30 segments are missing or altered" in done.stderr
    # After a cleanall there is nothing left to compare in the open batch; what lies in archives is asked for.
    store.cleanall()
    assert gwclient("verify", *url).returncode == 0
    (archive,) = store.archives()
    (archive / names[20]).write_bytes(segment(21))  # restored from a backup
    later = store.stored(segment(31))
    for which in ([archive.name], ["--all"]):
        done = gwclient("verify", *which, *url)
        assert done.returncode == 1
        assert rows(done) == {names[3]: rows(done)[names[3]], names[11]: rows(done)[names[11]]}
        assert {json.loads(line)["archive"] for line in done.stdout.splitlines()} == {archive.name}
    assert "batch 2: all 1 segments are as they were stored" in done.stderr
    assert gwclient("verify", archive.name, "--all", *url).returncode == 2  # some of them, or all
    listed = gwclient("files", "--archive", archive.name, "--url", store.url("/sendF"))
    assert listed.stdout.split() == names
    assert gwclient("files", "--url", store.url("/sendF")).stdout.split() == [later]
    assert gwclient("log", "--archive", archive.name, *url, "-o", "name").stdout.split() == names
    unknown = gwclient("verify", "00 00 00", *url)
    assert (unknown.returncode, "no archive '00 00 00'" in unknown.stderr) == (5, True)


@contextlib.contextmanager
def serving(
    segments: dict[str, bytes], log: list[dict], batches: list[str], archives: Sequence[dict] = ()
) -> Iterator[str]:
    """A server that checks nothing of what it serves; it answers each request for the log with the next batch."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            url = urlsplit(self.path)
            query = parse_qs(url.query)
            if url.path == "/dumpLogF":
                batch = batches.pop(0) if len(batches) > 1 else batches[0]
                self.answer(200, json.dumps(log).encode(), {"Datastore-Batch": batch} if batch else {})
            elif url.path == "/archives":
                self.answer(200, json.dumps({"archives": archives}).encode(), {})
            elif url.path == "/segment" and (content := segments.get(query["name"][0])) is not None:
                self.answer(200, content, {})
            else:
                self.answer(404, b'{"code":"ERRFILE","body":"gone"}', {})

        def answer(self, status, content, headers):
            self.send_response(status)
            for name, value in {**headers, "Content-Length": len(content)}.items():
                self.send_header(name, str(value))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args):
            pass

    with http_server.serving(Handler) as port:
        yield f"http://127.0.0.1:{port}"


def entry(name: str, content: bytes) -> dict:
    return {"name": name, "size": len(content), "sum": zlib.crc32(content)}


def test_the_client_compares_by_itself(gwclient):  # noqa: F811
    """Whatever the store, or a proxy before it, says: the checksum is of what has arrived."""
    log = [entry("gwb1.json", b"as sent"), entry("gwb2.json", b"as sent"), entry("gwb3.json", b"as sent")]
    with serving({"gwb1.json": b"as sent", "gwb2.json": b"as SENT", "gwb3.json": b"as"}, log, [""]) as url:
        done = gwclient("verify", "--url", url, "-o", "json")
    assert done.returncode == 1
    assert rows(done) == {"gwb2.json": "its checksum differs", "gwb3.json": "2 bytes instead of 7"}


def test_a_log_without_checksums_is_compared_by_size(gwclient):  # noqa: F811
    log = [{"name": "gwb1.json", "size": 7}]
    with serving({"gwb1.json": b"as SENT"}, log, [""]) as url:
        done = gwclient("verify", "--url", url)
    assert done.returncode == 0
    assert "1 segments have no checksum" in done.stderr


def test_a_batch_that_is_archived_meanwhile_is_not_called_altered(gwclient):  # noqa: F811
    with serving({}, [entry("gwb1.json", b"as sent")], ["7", "8"]) as url:
        done = gwclient("verify", "--url", url)
    assert done.returncode == 3
    assert "batch 7 was archived meanwhile" in done.stderr


@pytest.mark.parametrize("entries", [[{"nothing": 1}], [{"name": "gwb1.json"}]])
def test_a_log_that_cannot_be_compared_is_refused(gwclient, entries):  # noqa: F811
    with serving({}, entries, [""]) as url:
        assert gwclient("verify", "--url", url).returncode == 5


def test_a_service_that_cannot_list_an_archive_does_not_pass_for_one(gwclient):  # noqa: F811
    """Its answer would be the open batch's: Logic's routes do not know the parameter."""
    archives = [{"name": "08 47 25", "batch": 7}]
    for batch in ("", "8"):
        with serving({"gwb1.json": b"as sent"}, [entry("gwb1.json", b"as sent")], [batch], archives) as url:
            done = gwclient("verify", "08 47 25", "--url", url)
        assert (done.returncode, "does not list what is in an archive" in done.stderr) == (5, True)


def test_a_batch_that_is_archived_meanwhile_is_found_in_its_archive(new_store):
    """`/segment` takes the number of a batch, whether it is open or archived."""
    from gwclient.store import Store
    from gwclient.verification import Problem, verify

    store = new_store("embedded")
    names = [store.stored(segment(n)) for n in range(1, 6)]
    client = Store(store.url("/sendF"))
    entries = list(client.log())
    batch = client.batch
    store.cleanall()
    display = type("Silent", (), {"advance": lambda self: None, "message": lambda self, text: None})()
    assert verify(client, entries, batch, display) == []
    (archive,) = store.archives()
    (archive / names[2]).unlink()
    assert verify(client, entries, batch, display) == [Problem(names[2], "missing")]
