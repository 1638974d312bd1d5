"""Which pages and names a store without authentication takes."""

from __future__ import annotations

import pytest

from shared.config import AuthConfig, ConfigError, auth_from_env
from shared.errors import CrossSite, ForeignHost
from shared.web.same_origin import SameOrigin

LOOPBACK = SameOrigin(AuthConfig(), "127.0.0.1")
HERE = "127.0.0.1:8080"


@pytest.mark.parametrize("host", [
    "localhost", "LocalHost:8080", "127.0.0.1:8080", "127.1.2.3", "[::1]:8080", "[::1]", "::1", "",
])  # fmt: skip
def test_loopback_has_these_names(host):
    for _ in range(2):  # the second time from the cache
        LOOPBACK.check("POST", {"host": host})


@pytest.mark.parametrize("host", [
    "evil.example", "evil.example:8080", "127.evil.example", "127.0.0.1.evil.example:8080", "localhost.evil.example",
    "10.0.0.5:8080", "0.0.0.0", "[::2]:8080", ":8080", "localhost@evil.example", "[::1].evil.example", "x" * 9000,
])  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_foreign_name_is_refused_on_loopback(host, method):
    for _ in range(2):
        with pytest.raises(ForeignHost) as error:
            LOOPBACK.check(method, {"host": host})
    assert "ALLOWED_HOSTS" in str(error.value)
    assert len(str(error.value)) < 300


def test_a_request_without_host_is_taken():
    LOOPBACK.check("POST", {})


def test_beyond_loopback_a_name_is_refused_only_if_the_store_s_names_are_given():
    SameOrigin(AuthConfig(), "0.0.0.0").check("POST", {"host": "store.example:8080"})
    named = SameOrigin(AuthConfig(hosts="Store.example, other.example:81"), "0.0.0.0")
    for host in ("store.example", "STORE.example:8080", "other.example:81", "localhost:8080"):
        named.check("POST", {"host": host})
    for host in ("other.example", "other.example:82", "evil.example"):
        with pytest.raises(ForeignHost):
            named.check("POST", {"host": host})


def test_names_that_were_accepted_take_bounded_memory():
    rule = SameOrigin(AuthConfig(), "127.0.0.1")
    for port in range(1, 5000):
        rule.check("GET", {"host": f"localhost:{port}"})
    assert len(rule._accepted) < 100


@pytest.mark.parametrize("more", [
    {}, {"sec-fetch-site": "same-origin", "origin": f"http://{HERE}"}, {"sec-fetch-site": "none"},
    {"origin": f"http://{HERE}"}, {"origin": f"HTTPS://{HERE}"},
])  # fmt: skip
def test_its_own_page_and_other_clients_are_served(more):
    for method in ("GET", "POST"):
        LOOPBACK.check(method, {"host": HERE, **more})


@pytest.mark.parametrize("more", [
    {"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"}, {"origin": "http://evil.example"},
    {"origin": "null"}, {"origin": ""}, {"origin": "http://"}, {"origin": "http://127.0.0.1:8081"},
    {"origin": "http://127.0.0.1"}, {"origin": "evil"}, {"sec-fetch-site": "same-origin", "origin": "null"},
    {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"},
    {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "document"},
])  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT"])
def test_another_page_is_refused(more, method):
    with pytest.raises(CrossSite):
        LOOPBACK.check(method, {"host": HERE, **more})


def test_an_origin_is_not_taken_for_the_name_of_a_request_without_one():
    for headers in ({}, {"host": ""}):
        for origin in ("null", "", "http://"):
            with pytest.raises(CrossSite):
                LOOPBACK.check("POST", {**headers, "origin": origin})


def test_a_link_leads_to_a_page_but_sends_no_form():
    link = {"host": HERE, "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    LOOPBACK.check("GET", link)
    LOOPBACK.check("HEAD", link)
    with pytest.raises(CrossSite):
        LOOPBACK.check("POST", {**link, "origin": "http://evil.example"})
    with pytest.raises(CrossSite):
        LOOPBACK.check("POST", link)


def test_behind_a_proxy_that_changes_the_name_the_page_s_host_is_allowed():
    rule = SameOrigin(AuthConfig(hosts="store.example"), "127.0.0.1")
    rule.check("POST", {"host": HERE, "origin": "https://store.example", "sec-fetch-site": "same-origin"})
    with pytest.raises(CrossSite):
        rule.check("POST", {"host": HERE, "origin": "https://evil.store.example"})


@pytest.mark.parametrize("value", ["http://store.example", "*", "a b", "user@host"])
def test_a_host_that_is_none_is_a_configuration_error(value):
    with pytest.raises(ConfigError, match="ALLOWED_HOSTS"):
        auth_from_env({"ALLOWED_HOSTS": value})
