"""Who may do what: each cell of the table in docs/security.md, credentials of every kind, secrets that stay secret."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import os
import re
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from shared.auth import issue_token
from shared.auth.tokens import read_tokens
from shared.config import AuthConfig
from tests.support import ROOT
from tests.support.builders import segment
from tests.support.checks import name_in
from tests.support.http_server import serving
from tests.support.servers import FUNCTION_OF, Process, Store, http

WITH_JOBS = ("/products", "/preproc", "/datasets", "/archives/<name>/products", "/archives/<name>/preproc", "/remote",
             "/remote/<name>/verify")  # fmt: skip
OF_FUNCTIONS = ("writer.commit", "writer.freeze", "writer.cleanall", "relay")
COLUMNS = ("nobody", "read", "write", "operate", *OF_FUNCTIONS)
SCOPES = {**{name: name for name in COLUMNS[1:]}, "all": "read,write,operate", "portal": "read,write,operate,relay"}
SECRETS = {name: f"{name}-secret-{'x' * 32}" for name in (*SCOPES, *issue_token.SCOPES_OF_FUNCTIONS)}
SCOPES |= issue_token.SCOPES_OF_FUNCTIONS
ISSUER, AUDIENCE = "https://iam.example.org/", "https://datastore.example.org"
CLUSTER, TRIGGER = "https://kubernetes.default.svc", "system:serviceaccount:datastore:trigger-segment"
KEY, CLUSTER_KEY, STRANGERS_KEY = "ours", "the cluster's", "a stranger's"


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def entry(name: str, secret: str, scopes: str) -> str:
    return f"sha256:{hashlib.sha256(secret.encode()).hexdigest()} {name} {scopes}\n"


@functools.cache
def private_key(whose: str) -> rsa.RSAPrivateKey:
    """Made where it is needed: it takes a while."""
    return rsa.generate_private_key(65537, 2048)


def jwks(key: str, kid: str) -> str:
    public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(private_key(key).public_key()))
    return json.dumps({"keys": [{**public, "kid": kid, "alg": "RS256", "use": "sig"}]})


def token(key: str = KEY, kid="k1", algorithm="RS256", **claims) -> str:
    now = int(time.time())
    whole = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ada", "exp": now + 300, "iat": now, **claims}
    return jwt.encode({k: v for k, v in whole.items() if v is not None}, private_key(key), algorithm, {"kid": kid})


def secured(folder: Path) -> dict[str, str]:
    """The environment of a store with authentication on."""
    folder.mkdir(parents=True, exist_ok=True)
    # The table speaks of one scope at a time.
    lines = [entry(name, SECRETS[name], SCOPES[name]) for name in SECRETS]
    (folder / "tokens").write_text("# who may what\n\n" + "".join(lines))
    for name in issue_token.SCOPES_OF_FUNCTIONS:
        (folder / f"token-of-{name}").write_text(SECRETS[name] + "\n")
    (folder / "jwks.json").write_text(jwks(KEY, "k1"))
    (folder / "cluster.json").write_text(jwks(CLUSTER_KEY, "c1"))
    return {
        "AUTH_TOKENS": str(folder / "tokens"),
        "AUTH_SERVICE_TOKEN": f"{folder}/token-of-{{function}}",
        "AUTH_ISSUER": ISSUER,
        "AUTH_AUDIENCE": f"{AUDIENCE}, another",
        "AUTH_JWKS": str(folder / "jwks.json"),
        "AUTH_PATH": "/virgo/datastore",
        "EVENTS_ISSUER": CLUSTER,
        "EVENTS_AUDIENCE": "ingest.datastore",
        "EVENTS_JWKS": str(folder / "cluster.json"),
        "EVENTS_SENDERS": "system:serviceaccount:datastore:trigger-*",
    }


@pytest.fixture(scope="module", params=["embedded", "split"])
def store(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(f"auth-{request.param}")
    with Store(request.param, folder / "store", upper=True, MAX_SIZE="1", **secured(folder / "etc")) as store:
        yield store


@pytest.fixture
def clean(store) -> Store:
    assert store.cleanall(headers=bearer(SECRETS["all"])).status == 201
    return store


# -- the table ------------------------------------------------------------------------------------------------------


_ROW = re.compile(r"\| (the writer's )?(GET|POST|DELETE) (/\S*)(?: with (?:an event|events) `(\w+)`)? \|(.*)\|")


def cells():
    found = []
    for line in (ROOT / "docs" / "security.md").read_text().splitlines():
        if row := _ROW.fullmatch(line):
            marks = [cell.strip() for cell in row[5].split("|")]
            assert len(marks) == len(COLUMNS)
            for column, mark in zip(COLUMNS, marks, strict=True):
                assert mark in ("yes", "no")
                found.append(pytest.param(
                    "writer" if row[1] else "", row[2], row[3], row[4], column, mark == "yes",
                    id=f"{row[1] or ''}{row[2]} {row[3]} {row[4] or ''} {column}",
                ))  # fmt: skip
    return found


def ask(store, function, method, path, event, headers):
    """A request that is answered before it changes anything; skips where the topology has no such route."""
    if store.topology == "embedded" and function:
        pytest.skip("embedded, the writer has no route of its own")
    if path in WITH_JOBS and store.topology == "split":
        pytest.skip("functions with jobs are asked in the embedded topology")
    function = function or ("datastore" if store.topology == "embedded" else FUNCTION_OF.get(path, "ingest"))
    body, kind = (b'{"dstatus":5}' if method == "POST" else None), {}
    if event:
        one: dict[str, object] = {
            "specversion": "1.0",
            "id": "1",
            "source": "/x",
            "type": f"eu.intertwin.datastore.{event}",
        }
        one |= {"data": {"dstatus": "5", "key": 5} if event != "commit" else {}}
        kind = {"Content-Type": f"application/cloudevents{'-batch' if event == 'commit' else ''}+json"}
        body = json.dumps([one] if event == "commit" else one).encode()
    if method == "DELETE":
        path += "/none"
    below = "/V/V1_Hrec/V-V1_Hrec-1-1.gwf" if path == "/data" else ""  # a folder, of which every file is served
    url = store.url(path) if function == "strain" else store.processes[function].url + path
    if path == "/live":  # whose answer has no end
        below += "?after=x"
    return http.request(method, url + below, headers={**headers, **kind}, body=body)


@pytest.mark.parametrize(("function", "method", "path", "event", "column", "allowed"), cells())
def test_a_cell_of_the_table(store, function, method, path, event, column, allowed):
    answer = ask(store, function, method, path, event, bearer(SECRETS[column]) if column in SECRETS else {})
    if allowed:
        assert answer.status not in (401, 403), answer.data
    else:
        assert answer.status == (401 if column == "nobody" else 403), answer.data
        assert answer.json()["code"] == ("ERRAUTH" if column == "nobody" else "ERRSCOPE")
        assert ("WWW-Authenticate" in answer.headers) == (column == "nobody")


def test_the_table_has_every_route_of_the_store():
    listed = {(cell.values[1], cell.values[2]) for cell in cells()}
    assert {cell.values[3] for cell in cells()} == {None, "commit", "freeze", "cleanall"}
    for path in FUNCTION_OF:
        assert ("GET", path) in listed or ("POST", path) in listed, path


# -- functions ------------------------------------------------------------------------------------------------------

DECISIONS = {"/freezeds", "/flushbuf", "/train", "/cleanbuf", "/upddsc", "/cleanall", "/preproc"}


@pytest.mark.parametrize("name", issue_token.SCOPES_OF_FUNCTIONS)
def test_a_functions_token_can_do_what_that_function_does_and_no_more(store, name):
    may = {"ingest": {"commit"}, "freeze": {"freeze"}, "cleanall": {"cleanall"}}.get(name, set())
    writes = [cell.values[:4] for cell in cells() if cell.values[1] == "POST" and cell.values[4] == "nobody"]
    for function, method, path, event in writes:
        if path == "/ping" or (store.topology == "embedded" and function) or path in WITH_JOBS:
            continue
        status = ask(store, function, method, path, event, bearer(SECRETS[name])).status
        assert (status != 403) == (event in may), (path, event, status)
    assert ask(store, "", "GET", "/stat", None, bearer(SECRETS[name])).status == (
        200 if name in ("logic", "glitchflow") else 403
    )


@pytest.fixture
def by_route(clean):
    """A function: stores a segment through each route, by event too; returns `by` of each, from the log."""

    def send(secret: str, **headers: str) -> list[str | None]:
        event = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/x", "ce-type": "eu.intertwin.datastore.segment"}
        for second, route in enumerate(("/streamdata", "/stream", "/sendF")):
            answer = clean.request("POST", route, segment(t0=float(second)), {**bearer(secret), **headers})
            assert b"Written" in answer.data, answer.data
        url = clean.url("/sendF").removesuffix("sendF")
        assert http.request("POST", url, body=segment(), headers={**event, **bearer(secret), **headers}).status == 204
        log = clean.request("GET", "/dumpLogF", headers=bearer(SECRETS["read"])).json()
        in_journal = [json.loads(line) for line in clean.journal.read_text().splitlines()][1:]
        assert [entry.get("by") for entry in log] == [entry.get("by") for entry in in_journal]
        return [entry.get("by") for entry in log]

    return send


def test_segments_record_who_sent_them_on_every_way(by_route):
    assert by_route(SECRETS["write"]) == ["write"] * 4


def test_segments_record_the_subject_of_a_jwt_whatever_its_letters(by_route):
    subject = "Zoë/π\n 100%25"  # which no header carries as it is
    assert by_route(token(scope="write", sub=subject)) == [subject] * 4


def test_only_who_may_relay_names_another_client(clean, by_route):
    assert by_route(SECRETS["all"], **{"Datastore-On-Behalf-Of": "eve"}) == ["all"] * 4
    assert clean.cleanall(headers=bearer(SECRETS["all"])).status == 201
    assert by_route(SECRETS["portal"], **{"Datastore-On-Behalf-Of": "Zo%C3%AB"}) == ["Zoë"] * 4
    body = json.dumps({"user": "eve", "token": "x"})
    for route, secret, user in [("/upddsc", "all", "all"), ("/train", "all", "all"), ("/train", "portal", "eve")]:
        assert clean.request("POST", route, body, bearer(SECRETS[secret])).status in (200, 201)
        description = clean.request("GET", "/dstat", headers=bearer(SECRETS["read"])).json()
        assert (description["dstatus"], description["user"]) == ("FROZEN", user)


def test_the_writer_believes_a_name_only_from_who_may_relay(store):
    if store.topology == "embedded":
        pytest.skip("embedded, the writer has no route of its own")
    kind = {"Content-Type": "application/cloudevents+json"}
    event = {"specversion": "1.0", "source": "/x", "type": "eu.intertwin.datastore.freeze",
             "data": {"user": "eve", "token": "x", "by": "eve"}}  # fmt: skip
    for secret, name in [("writer.freeze", "writer.freeze"), ("freeze", "eve")]:
        body = json.dumps({**event, "id": secret})
        answer = http.request("POST", store.writer.url, body=body, headers={**bearer(SECRETS[secret]), **kind})
        assert answer.status == 200, answer.data
        assert store.request("GET", "/dstat", headers=bearer(SECRETS["read"])).json()["user"] == name
        last = json.loads(store.journal.read_text().splitlines()[-1])
        assert (last["user"], last["by"]) == (name, name)


def test_the_scope_service_of_the_first_release_means_all_that_functions_do():
    [(_, principal)] = read_tokens(entry("service", "secret", "read,service"))
    assert principal.scopes == {"read", *OF_FUNCTIONS}


def test_a_store_with_one_token_for_all_functions_still_works(new_store, tmp_path):
    etc = tmp_path / "etc"
    etc.mkdir()
    (etc / "service").write_text("of-all-functions")
    lines = [("service", "of-all-functions", "read,write,operate,service"), ("ada", "hers", "read,write,operate")]
    (etc / "tokens").write_text("".join(entry(*line) for line in lines))
    env = {"AUTH_TOKENS": str(etc / "tokens"), "AUTH_SERVICE_TOKEN": str(etc / "service"), "MAX_SIZE": "1"}
    store = new_store("split", upper=True, **env)
    assert store.request("POST", "/streamdata", segment(), bearer("hers")).json()["resp"] == "CREATED"
    assert store.request("POST", "/train", b'{"user":"ada","token":"hers"}').json()["resp"] == "FROZEN"
    assert store.request("GET", "/dstat", headers=bearer("hers")).json()["user"] == "ada"
    assert store.request("POST", "/cleanbuf", b'{"msg":"x"}', bearer("hers")).json()["resp"] == "CLEANED"


def test_a_function_behind_that_refuses_the_client_says_so_to_the_client(new_store, tmp_path):
    """Such as in the second in which one function has read the new token file and another has not."""
    etc = tmp_path / "etc"
    env = secured(etc)
    for name in (
        "logic",
        "glitchflow",
        "datastore",
        "writer",
        "ingest",
        "freeze",
        "cleanall",
        "stats",
        "files",
        "logdump",
    ):
        known = (etc / "tokens").read_text()
        (etc / f"tokens-{name}").write_text(known + entry("new", "new-one", "write") * (name == "glitchflow"))
    store = new_store("split", upper=True, **env | {"AUTH_TOKENS": f"{etc}/tokens-{{function}}"})
    answer = store.request("POST", "/streamdata", segment(), bearer("new-one"))
    assert (answer.status, answer.json()["code"]) == (401, "ERRAUTH")
    assert "WWW-Authenticate" in answer.headers


# -- tokens ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header", ["Bearer wrong", "Bearer", "Bearer ", "Basic dTpw", "secret", "Bearer \u00e4", f"Token {SECRETS['read']}"]
)
def test_unknown_credentials_are_401_and_never_repeated(store, header):
    answer = store.request("GET", "/stat", headers={"Authorization": header.encode()})
    assert answer.status == 401
    assert header.split()[-1].encode() not in answer.data or header in ("Bearer", "Bearer ")


def test_a_segment_travels_through_all_services_on_the_first_ones_credentials(clean):
    for route in ("/streamdata", "/stream", "/sendF"):
        answer = clean.request("POST", route, segment(t0=float(len(route))), bearer(SECRETS["write"]))
        assert answer.status in (200, 201), answer.data
        assert b"Written" in answer.data
    assert clean.request("GET", "/stats", headers=bearer(SECRETS["read"])).json()["n_itm"] == 3


@pytest.mark.parametrize(("route", "status"), [("/upddsc", 201), ("/freezeds", 201), ("/train", 200)])
def test_user_and_token_in_the_body_count_as_credentials(clean, route, status):
    assert clean.send(segment(), bearer(SECRETS["write"])).status == 201

    def ask(user: str, secret: str, **headers: str):
        return clean.request("POST", route, json.dumps({"user": user, "token": secret}), headers)

    assert ask("operate", "wrong").status == 401
    assert ask("all", SECRETS["operate"]).status == 401  # another's token
    assert ask("write", SECRETS["write"]).status == 403
    assert ask("operate", SECRETS["operate"], Authorization="Bearer wrong").status == 401
    assert clean.request("GET", "/dstat", headers=bearer(SECRETS["read"])).json()["dstatus"] == "OPERATIONAL"
    assert ask("operate", SECRETS["operate"]).status == status
    mark = "sha256:" + hashlib.sha256(SECRETS["operate"].encode()).hexdigest()[:12]
    expected = {"dstatus": "FROZEN", "user": "operate", "token": mark}
    assert clean.request("GET", "/dstat", headers=bearer(SECRETS["read"])).json() == expected
    assert json.loads(clean.views[1].read_text()) == expected


def test_nobody_is_recorded_under_another_name_and_no_secret_is(clean):
    body = json.dumps({"user": "somebody-else", "token": "a-secret-of-somewhere-else"})
    assert clean.request("POST", "/upddsc", body, bearer(SECRETS["all"])).status == 201
    assert clean.request("GET", "/dstat", headers=bearer(SECRETS["read"])).json()["user"] == "all"
    event = {"ce-specversion": "1.0", "ce-id": "f", "ce-source": "/t", "ce-type": "eu.intertwin.datastore.freeze"}
    url = clean.url("/upddsc").removesuffix("/upddsc") + "/"
    assert http.request("POST", url, body=body, headers={**event, **bearer(SECRETS["operate"])}).status == 204
    assert clean.request("GET", "/dstat", headers=bearer(SECRETS["read"])).json()["user"] == "operate"
    assert http.request("POST", url, body=body, headers={**event, **bearer(SECRETS["write"])}).status == 403
    written = "".join(path.read_text("latin-1") for path in clean.root.rglob("*") if path.is_file())
    written += "".join(process.text() for process in clean.processes.values())
    for secret in ("a-secret-of-somewhere-else", *SECRETS.values()):
        assert secret not in written


def test_a_stranger_who_reaches_the_writer_can_neither_commit_nor_freeze(store):
    if store.topology == "embedded":
        pytest.skip("embedded, the writer has no route of its own")
    before = store.journal.read_bytes()
    commit = [{"specversion": "1.0", "id": "1", "source": "/x", "type": "eu.intertwin.datastore.commit",
               "data": {"spool": "0" * 16, "at": 0, "size": 1, "sum": 1}}]  # fmt: skip
    freeze = {"specversion": "1.0", "id": "1", "source": "/x", "type": "eu.intertwin.datastore.freeze", "data": {}}
    pretended = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/x", "ce-type": "dev.knative.sources.ping"}
    for headers in ({}, bearer("wrong"), pretended, bearer(SECRETS["all"]), bearer(token(scope="read write operate"))):
        for content, body in (("cloudevents-batch", commit), ("cloudevents", freeze)):
            kind = {"Content-Type": f"application/{content}+json"}
            answer = http.request("POST", store.writer.url, body=json.dumps(body), headers={**headers, **kind})
            assert answer.status in (401, 403)
    assert http.request("POST", store.writer.url + "/ping", headers=pretended).status == 204
    assert store.journal.read_bytes() == before


def test_refusals_are_logged_with_client_and_reason_and_without_secrets(new_store, topology, tmp_path):
    store = new_store(topology, **secured(tmp_path / "etc"))
    for _ in range(40):
        assert store.send(segment(), bearer("a-wrong-secret")).status == 401
    assert store.send(segment(), bearer(SECRETS["read"])).status == 403
    assert store.send(b"{}", bearer(SECRETS["write"])).status == 400
    assert store.request("GET", "/stat", headers=bearer(SECRETS["write"])).status == 403
    lines = [line for process in store.processes.values() for line in process.text().splitlines() if "refused" in line]
    known = [line for line in lines if "ERRAUTH" not in line]
    assert 0 < len(lines) - len(known) < 10
    for line, (route, who, why) in zip(
        sorted(known, key=lambda line: line.partition("refused")[2]),
        [("GET '/stat'", "write needs the scope `read`", "ERRSCOPE"),
         ("POST '/sendF'", "'write' at 127.0.0.1", "ERRFMT"),
         ("POST '/sendF'", "read needs the scope `write`", "ERRSCOPE")],
        strict=True,
    ):  # fmt: skip
        assert route in line
        assert who in line
        assert why in line
    for secret in ("a-wrong-secret", *SECRETS.values()):
        assert secret not in "".join(process.text() for process in store.processes.values())


def test_the_client_finds_the_segments_that_a_name_sent(new_store, tmp_path):
    store = new_store("embedded", **secured(tmp_path / "etc"))
    sent = [store.send(segment(t0=float(i)), bearer(SECRETS[name])) for i, name in enumerate(("write", "all", "write"))]
    names = [name_in(answer.data) for answer in sent]
    env = {**os.environ, "BEARER_TOKEN": SECRETS["read"]}
    command = [sys.executable, "-m", "gwclient", "log", "-o", "name", "--url", store.writer.url, "--by", "write"]
    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout.split()) == (0, [names[0], names[2]]), done.stderr


def test_a_changed_token_file_takes_effect_without_a_restart(new_store, tmp_path):
    tokens = tmp_path / "tokens"
    tokens.write_text(entry("one", "first", "read"))
    store = new_store("embedded", AUTH_TOKENS=str(tokens))

    def status(secret: str) -> int:
        return store.request("GET", "/stat", headers=bearer(secret)).status

    assert (status("first"), status("second")) == (200, 401)
    new = tmp_path / "new"
    new.write_text(entry("two", "second", "read"))
    os.replace(new, tokens)
    deadline = time.monotonic() + 20
    while status("second") != 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert status("first") == 401
    tokens.write_text("second read\n")  # a mistake locks nobody out, and is reported without a quotation
    while "line 1" not in store.writer.text():
        assert time.monotonic() < deadline
        assert status("second") == 200
        time.sleep(0.1)
    assert status("second") == 200
    assert "second" not in store.writer.text()


def test_public_reading_is_reading_only(new_store, tmp_path):
    store = new_store("embedded", **secured(tmp_path / "etc"), AUTH_PUBLIC_READ="true")
    assert store.request("GET", "/stat").status == 200
    assert store.request("GET", "/status.json").json()["auth"] == "on"
    assert store.send(segment()).status == 401
    assert store.freeze().status == 401


# -- JWTs -----------------------------------------------------------------------------------------------------------


def test_a_jwt_may_what_its_scopes_say(clean):
    may_write = bearer(token(scope="openid storage.create:/virgo"))
    may_all = bearer(token(scope="storage.read:/ storage.modify:/virgo/datastore"))
    assert clean.send(segment(), may_write).status == 201
    assert clean.request("GET", "/stat", headers=may_write).status == 403
    assert clean.cleanall(headers=may_write).status == 403
    assert clean.request("GET", "/stat", headers=may_all).json()["n_itm"] == 1
    assert clean.freeze(headers=may_all).status == 201
    assert clean.request("GET", "/dstat", headers=may_all).json()["user"] == "ada"


def unsigned(**claims) -> str:
    parts = [{"alg": "none", "kid": "k1"}, {"iss": ISSUER, "aud": AUDIENCE, "sub": "ada", "exp": 2**33, **claims}]
    return ".".join(base64.urlsafe_b64encode(json.dumps(p).encode()).decode().rstrip("=") for p in parts) + "."


def signed_with_the_public_key() -> str:
    """What a checker takes that believes the token about the algorithm."""
    public = private_key(KEY).public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )  # fmt: skip
    import hmac

    parts = [{"alg": "HS256", "kid": "k1"},
             {"iss": ISSUER, "aud": AUDIENCE, "sub": "ada", "exp": 2**33, "scope": "read"}]  # fmt: skip
    text = ".".join(base64.urlsafe_b64encode(json.dumps(p).encode()).decode().rstrip("=") for p in parts)
    digest = hmac.digest(public, text.encode(), "sha256")
    return f"{text}.{base64.urlsafe_b64encode(digest).decode().rstrip('=')}"


BAD = {
    "expired": lambda: token(scope="read", exp=int(time.time()) - 100),
    "without end": lambda: token(scope="read", exp=None),
    "not yet": lambda: token(scope="read", nbf=int(time.time()) + 1000),
    "another audience": lambda: token(scope="read", aud="https://elsewhere"),
    "no audience": lambda: token(scope="read", aud=None),
    "another issuer": lambda: token(scope="read", iss="https://iam.example.com/"),
    "nobody": lambda: token(scope="read", sub=None),
    "a stranger's key": lambda: token(STRANGERS_KEY, scope="read"),
    "an unknown key": lambda: token(STRANGERS_KEY, kid="k2", scope="read"),
    "unsigned": lambda: unsigned(scope="read"),
    "signed with the public key": signed_with_the_public_key,
    "garbage": lambda: "a.b.c",
    "the cluster's, of an unlisted subject": lambda: token(
        CLUSTER_KEY, "c1", iss=CLUSTER, aud="ingest.datastore", sub="system:serviceaccount:other:trigger-x"
    ),
}


@pytest.mark.parametrize("why", BAD)
def test_a_jwt_that_is_not_right_is_401(store, why):
    secret = BAD[why]()
    answer = store.request("GET", "/stat", headers=bearer(secret))
    assert answer.status == 401
    assert secret.encode() not in answer.data


def test_keys_are_read_from_a_url_and_read_again_for_a_new_one(new_store, tmp_path):
    served = {"jwks": jwks(STRANGERS_KEY, "old")}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            body = served["jwks"].encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    with serving(Handler) as port:
        url = f"http://127.0.0.1:{port}/jwks"
        store = new_store("embedded", AUTH_ISSUER=ISSUER, AUTH_AUDIENCE=AUDIENCE, AUTH_JWKS=url)

        def status(secret: str) -> int:
            return store.request("GET", "/stat", headers=bearer(secret)).status

        deadline = time.monotonic() + 60
        while status(token(STRANGERS_KEY, "old", scope="read")) == 503:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert status(token(STRANGERS_KEY, "old", scope="read")) == 200
        assert status(token(KEY, "k1", scope="read")) == 401
        served["jwks"] = jwks(KEY, "k1")
        while status(token(KEY, "k1", scope="read")) != 200:
            assert time.monotonic() < deadline
            time.sleep(0.3)


# -- events ---------------------------------------------------------------------------------------------------------


def test_knatives_deliveries_are_taken_by_their_audience_and_subject(clean):
    delivery = token(CLUSTER_KEY, "c1", iss=CLUSTER, aud="ingest.datastore", sub=TRIGGER)
    event = {"ce-specversion": "1.0", "ce-id": "e1", "ce-source": "/daq", "ce-type": "eu.intertwin.datastore.segment"}
    url = clean.url("/sendF").removesuffix("/sendF") + "/"
    assert http.request("POST", url, body=segment(), headers=event).status == 401
    assert http.request("POST", url, body=segment(), headers={**event, **bearer(delivery)}).status == 204
    assert clean.request("GET", "/stat", headers=bearer(SECRETS["read"])).json()["n_itm"] == 1
    assert clean.request("GET", "/stat", headers=bearer(delivery)).status == 403


# -- configuration --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["missing", "wrong"])
@pytest.mark.parametrize("target", ["datastore", "stats"])
def test_a_function_does_not_start_with_a_token_file_it_cannot_read(tmp_path, what, target):
    if what == "wrong":
        (tmp_path / "tokens").write_text("root\n")
    process = Process(target, {"ROOT": str(tmp_path / "store"), "AUTH_TOKENS": str(tmp_path / "tokens")})
    process.start(wait="")
    try:
        assert process.wait_dead() != 0
        assert str(tmp_path / "tokens") in process.text()
    finally:
        process.stop()


def test_a_store_open_to_other_machines_says_so(tmp_path):
    assert AuthConfig().mode("0.0.0.0") == AuthConfig().mode("192.0.2.1") == "exposed"
    assert AuthConfig().mode("127.0.0.1") == AuthConfig().mode("localhost") == "off"
    assert AuthConfig(tokens="x").mode("0.0.0.0") == "on"
    process = Process("datastore", {"ROOT": str(tmp_path / "store"), "PREPROC": "off"})
    try:
        process.start("/health/readiness", SERVURL=f":{process.port}")
        assert "AUTHENTICATION IS OFF" in process.text()
        assert http.request("GET", process.url + "/status.json").json()["auth"] == "exposed"
    finally:
        process.stop()
