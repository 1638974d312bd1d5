"""Without authentication: what web pages of other sites, and names that resolve to loopback, may do. Nothing."""

from __future__ import annotations

import json
import socket
from http.server import BaseHTTPRequestHandler

import pytest

from tests.contract.test_page_in_browser import browser  # noqa: F401 - a fixture
from tests.support.builders import segment
from tests.support.http_server import serving
from tests.support.servers import Process, http

WRITES = (
    ("/upddsc", b'{"user":"u","token":"t"}'), ("/cleanall", b""), ("/sendF", segment(5)),
    ("/train", b'{"user":"u","token":"t"}'), ("/cleanbuf", b'{"msg":"done"}'), ("/streamdata", segment(6)),
    ("/freezeds", b'{"user":"u","token":"t"}'), ("/flushbuf", b""), ("/stream", segment(7)),
)  # fmt: skip
READS = ("/stat", "/dumpF", "/dumpLogF", "/status.json", "/stats", "/dumpbuf")
FOREIGN = (
    {"Origin": "http://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
)  # fmt: skip


@pytest.mark.parametrize("headers", FOREIGN)
def test_a_foreign_page_can_neither_write_nor_read(services, headers):
    services.stored(segment())
    before = services.stat()
    for method, route, body in (*(("POST", *write) for write in WRITES), *(("GET", route, None) for route in READS)):
        answer = services.request(method, route, body, {"Content-Type": "text/plain", **headers})
        assert (answer.status, answer.json()["code"]) == (403, "ERRORIGIN"), route
    assert services.stat() == before
    assert services.dstat()["dstatus"] == "OPERATIONAL"


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:8080"])
def test_a_name_that_resolves_to_loopback_is_refused(services, host):
    """DNS rebinding: for the browser the page and the store are one site."""
    services.stored(segment())
    before = services.stat()
    headers = {"Host": host, "Origin": f"http://{host}", "Sec-Fetch-Site": "same-origin"}
    for method, route, body in (*(("POST", *write) for write in WRITES), *(("GET", route, None) for route in READS)):
        answer = services.request(method, route, body, headers)
        assert (answer.status, answer.json()["code"]) == (421, "ERRHOST"), route
        assert "ALLOWED_HOSTS" in answer.json()["body"]
    assert services.stat() == before
    for probe in ("/health/liveness", "/health/readiness"):  # the kubelet sends the address of the pod
        for process in services.processes.values():
            assert http.request("GET", process.url + probe, headers={"Host": host}).status == 200


def test_refusals_are_logged_with_the_reason(new_store, topology):
    store = new_store(topology)
    store.request("GET", "/stat", headers={"Host": "evil.example"})
    store.request("POST", "/upddsc", b"{}", headers={"Origin": "http://evil.example"})
    log = "".join(process.text() for process in store.processes.values())
    for code in ("421", "403"):
        [line] = [line for line in log.splitlines() if f": {code} " in line]
        assert "refused" in line
        assert "evil.example" in line


def test_its_own_page_the_originals_clients_and_links_are_served(services):
    own = {"Origin": services.url("/sendF").removesuffix("/sendF"), "Sec-Fetch-Site": "same-origin"}
    assert services.send(segment(), own).status == 201
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert services.request("GET", "/", headers=link).status == 200
    # HTTP/1.0 without Host.
    with socket.create_connection(("127.0.0.1", services.ingest.port), timeout=20) as s:
        body = segment(4)
        s.sendall(b"POST /sendF HTTP/1.0\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        assert s.recv(4096).split()[1] == b"201"


def test_names_of_a_store_can_be_given(tmp_path):
    """Behind loopback a store has any name, unless its names are given."""
    process = Process("datastore", {"ROOT": str(tmp_path / "store"), "PREPROC": "off"}, forked=True)
    try:
        process.start("/health/readiness", SERVURL=f":{process.port}")
        assert http.request("GET", process.url + "/stat", headers={"Host": "any.example"}).status == 200
        assert http.request("POST", process.url + "/cleanall", headers={"Origin": "http://x.example"}).status == 403
        process.stop()
        process.start("/health/readiness", SERVURL=f":{process.port}", ALLOWED_HOSTS="store.example")
        for host, status in (("any.example", 421), ("Store.example:80", 200), ("localhost", 200)):
            assert http.request("GET", process.url + "/stat", headers={"Host": host}).status == status
    finally:
        process.stop()


# -- in a browser ---------------------------------------------------------------------------------------------------


@pytest.fixture
def foreign_page():
    """A page of another site: another port of this machine, the nearest to the store that another site can be."""
    page = {"content": ""}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            content = page["content"].encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args):
            pass

    with serving(Handler) as port:
        page["port"] = str(port)
        yield page


# The second is another site for the browser, the first only another origin.
@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_a_foreign_page_in_a_browser_changes_nothing(services, browser, foreign_page, name):  # noqa: F811
    services.stored(segment())
    before = services.stat()
    freeze, clean, send = (services.url(route) for route in ("/upddsc", "/cleanall", "/sendF"))
    foreign_page["content"] = f"""<!doctype html><iframe name="there"></iframe>
      <form id="f" method="post" enctype="text/plain" action="{freeze}" target="there">
        <input name='{{"user":"u","token":"t","x":"' value='"}}'></form>
      <script>
        document.forms.f.submit();
        const options = {{method: "POST", mode: "no-cors", headers: {{"Content-Type": "text/plain"}}}};
        Promise.allSettled([
          fetch("{clean}", options),
          fetch("{send}", {{...options, body: {json.dumps(segment(9).decode())}}}),
        ]).then(() => {{ document.title = "sent" }});
      </script>"""
    context = browser.new_context()
    try:
        page = context.new_page()
        answers = []
        page.on("response", lambda response: answers.append((response.url, response.status)))
        page.goto(f"http://{name}:{foreign_page['port']}/")
        page.wait_for_function("document.title === 'sent'")
        for _ in range(100):
            if len(answers) == 4:  # its own, and those to the form and to both others
                break
            page.wait_for_timeout(50)
        refused = [status for url, status in answers if url in (freeze, clean, send)]
        assert refused == [403] * 3, answers
    finally:
        context.close()
    assert services.stat() == before
    assert services.dstat()["dstatus"] == "OPERATIONAL"
