"""The OpenAPI document: every route is in it, its examples succeed, and the running store does what it says."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import cast
from urllib.parse import urlencode

import pytest

from shared.config import AuthConfig, Limits
from shared.web import App, Request, Response, text
from tests.contract.test_access_table import SECRETS, secured
from tests.support.servers import FUNCTION_OF, Store, http

ORIGINAL = {"/stats", "/dumpbuf", "/desc", "/dspage", "/train", "/streamdata", "/cleanbuf"}
COMMON = {"/health/liveness", "/health/readiness", "/metrics", "/openapi.json"}


def operations(document):
    return [(method, path, one) for path, of in document["paths"].items() for method, one in of.items()]


def documents(store: Store) -> dict[str, dict]:
    return {name: http.request("GET", f"{p.url}/openapi.json").json() for name, p in store.processes.items()}


def test_every_route_of_every_function_is_described(services):
    for name, document in documents(services).items():
        assert document["openapi"].startswith("3.1")
        for method, path, one in operations(document):
            assert one["summary"] != f"{method.upper()} {path}", (
                f"{name}: describe the handler of {one['summary']} with web.describe; a page's part: web.undocumented"
            )
            assert "{path}" not in path
            assert one["responses"]["default"]


def test_a_route_that_is_not_described_is_in_the_document_too():
    app = App({("GET", "/new/*"): lambda request: text("x")}, lambda: None, Limits(), AuthConfig())
    document = app.handler("GET", "/openapi.json")(Request("GET", "/openapi.json", {}))
    assert isinstance(document, Response)
    assert "/new/{path}" in json.loads(b"".join(cast(Iterator[bytes], document.body)))["paths"]


def test_embedded_one_document_has_the_routes_of_all_functions(services):
    found = documents(services)
    if services.topology == "split":
        for route, function in FUNCTION_OF.items():
            if function in found and route not in ("/api/v1/gwf.json", "/data"):
                assert route in found[function]["paths"], route
        return
    paths = found["datastore"]["paths"]
    assert {route for route in FUNCTION_OF if route not in ("/api/v1/gwf.json", "/data")} <= set(paths)
    for path in ("/api/v1/{ext}.json", "/data/{observatory}/{frametype}/{file}", "/products", "/preproc", *COMMON):
        assert path in paths
    assert paths["/dumpF"]["get"]["tags"] == ["files"]
    assert {tag["name"] for tag in found["datastore"]["tags"]} >= {"ingest", "files", "strain", "glitchflow", "preproc"}


def test_glitchflow_keeps_the_contract_of_the_original(services):
    if services.topology == "embedded":
        [document] = documents(services).values()
    else:
        document = documents(services)["glitchflow"]
        assert set(document["paths"]) == ORIGINAL | COMMON | {"/docs"}
        assert document["info"]["title"] == "GlitchflowAPI"
    for path in ORIGINAL:
        [one] = document["paths"][path].values()
        assert one["operationId"] == path[1:]
        assert one["tags"] == ["glitchflow"]


def test_scopes_errors_and_retries_come_from_the_tables(tmp_path):
    with Store("embedded", tmp_path / "store", forked=True, **secured(tmp_path / "etc")) as store:
        answer = http.request("GET", store.writer.url + "/openapi.json")
        paths = answer.json()["paths"]
        assert answer.json()["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
        assert paths["/stat"]["get"]["security"] == [{"bearer": ["read"]}]
        assert paths["/sendF"]["post"]["security"] == [{"bearer": ["write"]}]
        assert paths["/train"]["post"]["security"] == [{"bearer": ["operate"]}, {}]  # or `user` and `token`
        assert paths["/docs"]["get"]["security"] == []
        full = paths["/sendF"]["post"]["responses"]["507"]
        assert "ERRIO" in full["description"]
        assert "Retry-After" in full["headers"]
        assert "Retry-After" not in paths["/sendF"]["post"]["responses"]["400"].get("headers", {})
        # Everybody may read the document, so it has no names of this store.
        body = json.dumps({"h": [1, 2, 3, 4], "t": [1e9, 0.5]})
        assert store.send(body.encode(), {"Authorization": f"Bearer {SECRETS['write']}"}).status == 201
        again = http.request(
            "GET", store.writer.url + "/openapi.json", headers={"If-None-Match": answer.headers["ETag"]}
        )
        assert again.status == 304


# Routes whose examples need more than a stored segment.
_NEEDS_MORE = {
    "/products/{name}": "products, which gwpy makes",
    "/preproc": "a frozen batch and gwpy",
    "/archives/{name}/products": "an archive",
    "/archives/{name}/products/{product}": "an archive with products",
    "/archives/{name}/preproc": "an archive and gwpy",
    "/datasets": "a frozen batch and numpy",
    "/datasets/{name}": "a training set",
    "/datasets/{name}/{file}": "a training set",
    "/remote/{name}": "an archive",
    "/remote/{name}/{object}": "an archive with a copy",
    "/remote/{name}/verify": "an archive with a copy",
    "/remote/{name}/restore": "an archive with a copy",
    "/signed/{signature}/data/{observatory}/{frametype}/{file}": "a key that signs",
    "/": "an event",
    "/live": "a client that goes on reading",
}
_LAST = ("/upddsc", "/cleanall", "/cleanbuf", "/flushbuf")


def test_the_example_of_each_operation_succeeds(new_store):
    store = new_store("embedded", DATAFIND_SECONDS="1")
    url = store.writer.url

    def rank(found) -> tuple[bool, int, str]:
        method, path, _ = found
        return path != "/sendF", _LAST.index(path) + 2 if path in _LAST else method == "get", path

    document = http.request("GET", url + "/openapi.json").json()
    for method, path, _ in sorted(operations(document), key=rank):
        if path in _NEEDS_MORE and (path, method) not in (("/", "get"), ("/datasets", "get")):
            continue
        one = http.request("GET", url + "/openapi.json").json()["paths"][path][method]  # with examples as they are now
        examples = {(p["in"], p["name"]): p["example"] for p in one["parameters"] if "example" in p}
        place = path.format(**{name: value for (where, name), value in examples.items() if where == "path"})
        query = urlencode({name: value for (where, name), value in examples.items() if where == "query"})
        body = one.get("requestBody", {}).get("content", {}).get("application/json", {}).get("example")
        assert body is not None or not one.get("requestBody", {}).get("required"), path
        answer = http.request(
            method.upper(), f"{url}{place}?{query}", body=None if body is None else json.dumps(body), redirect=False
        )
        assert str(answer.status) in one["responses"], (path, answer.status, answer.data)
        assert answer.status < 400, (path, answer.status, answer.data)
        if "strain" in one["tags"] and "nothing" not in one["summary"]:
            assert answer.data.strip() not in (b"[]", b"{}", b""), path


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The embedded store, for requests that leave nothing as it was."""
    with Store("embedded", tmp_path_factory.mktemp("openapi") / "store", forked=True) as store:
        yield store


_STRAIN = (
    "strain$|coverage|channels|data/|dq|signed|api/|datasets/|archives/|remote/"  # `/*` has one `Allow` for all below
)
_SEGMENTS = "(sendF|stream|streamdata)$"
_FREEZE = "(upddsc|cleanall|datasets)?$"  # an event has a key of its own, and its data are of several kinds


@pytest.mark.parametrize(
    ("paths", "excluded"),
    [
        # JSON Schema has no words for `end` or `duration`, a list with one time per sample, a key that is known.
        (
            f"--include-path-regex=^/({_STRAIN}|{_SEGMENTS})",
            "positive_data_acceptance,negative_data_rejection,allow_header_conformance",
        ),
        ("--include-path-regex=^/(upddsc|cleanall|datasets)$", "positive_data_acceptance,negative_data_rejection"),
        (f"--exclude-path-regex=^/({_STRAIN}|{_SEGMENTS}|LDR|services|live|{_FREEZE})", ""),
    ],
    ids=["strain", "freeze", "others"],
)
def test_the_store_is_as_its_document_says(alone, paths, excluded, tmp_path):
    alone.cleanall()
    # One of gwdatafind's three prefixes, because they answer alike.
    command = [
        sys.executable, "-m", "schemathesis.cli", "run", alone.writer.url + "/openapi.json", paths, "--max-examples=2",
        "--checks=all", *([f"--exclude-checks={excluded}"] if excluded else []), "--phases=coverage,fuzzing",
        "--generation-deterministic", "--no-color", "--warnings=off",
    ]  # fmt: skip
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "No issues found" in run.stdout, run.stdout
