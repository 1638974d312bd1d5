"""Environment variables: the original's are understood, and a bad value is named."""

from __future__ import annotations

import json

import pytest

from shared.archives.place import Place
from shared.config import ConfigError, Keep, auth_from_env, limits_from_env, policy_from_env, store_from_env
from shared.config.limits import CLIENT_IDLE_TIMEOUT, KEEP_ALIVE
from shared.volume.layout import Layout


def test_the_original_environment_is_understood():
    config = store_from_env(
        {
            "ADMROOT": "/s/appdata/adm/", "ADMFNM": "A.json", "DSST": "D.json", "DATAROOT": "/s/vol/batch/",
            "LOGROOT": "/s/log", "LOGSTREAM": "L.json", "DTVOLROOT": "/s/vol/", "SERVURL": ":9999", "WCHSZ": "10",
        }
    )  # fmt: skip
    assert (config.host, config.port, config.queue_length) == ("0.0.0.0", 9999, 10)
    assert Layout(config).stat_view == "/s/appdata/adm/A.json"
    assert Layout(config).dstat_view == "/s/appdata/adm/D.json"
    assert Layout(config).journal == "/s/log/L.json"
    assert (config.data_root, Layout(config).spool) == ("/s/vol/batch", "/s/vol/.spool")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SERVURL", "8080"), ("SERVURL", "x:y"), ("SERVURL", ":70000"), ("WCHSZ", "0"), ("WCHSZ", "many"),
        ("MAX_BODY", "-1"), ("COMMIT_TIMEOUT", "0"), ("COMMIT_TIMEOUT", "nan"), ("K_SINK", "broker"),
        ("WRITER_URL", "ftp://x"), ("ADMFNM", "../x"), ("SEGMENT_FACTS", "maybe"), ("DATAROOT", "/elsewhere/data"),
        ("ARCHIVE_URL", "/mnt/tape"), ("ARCHIVE_URL", "s3:bucket"), ("ARCHIVE_KEEP", "a week"),
        ("ARCHIVE_KEEP", "5 GB"), ("ARCHIVE_KEEP", "-1"), ("ARCHIVE_CACHE", "0"),
    ],
)  # fmt: skip
def test_a_bad_value_is_named(name, value):
    read = limits_from_env if name.startswith("MAX_") else store_from_env
    with pytest.raises(ConfigError, match=name):
        read({name: value})


def test_how_long_local_copies_are_kept():
    assert Keep.parse("") == Keep()
    assert Keep.parse("0") == Keep(seconds=0)
    assert Keep.parse("3600") == Keep.parse("1h") == Keep(seconds=3600)
    assert Keep.parse("7d") == Keep(seconds=604800)
    assert Keep.parse("1.5GB") == Keep(free=1_500_000_000)
    assert Keep.parse("2GiB") == Keep(free=2 << 30)


def test_credentials_of_the_place_of_archives_are_shown_nowhere():
    with pytest.raises(ConfigError, match="ARCHIVE_URL") as refused:
        store_from_env({"ARCHIVE_URL": "s3://key:hunter2@bucket/x"})
    assert "hunter2" not in str(refused.value)
    config = store_from_env({"ARCHIVE_URL": "s3://bucket/x", "ARCHIVE_OPTIONS": '{"secret":"hunter2"'})
    assert "hunter2" not in repr(config)
    with pytest.raises(ConfigError, match="ARCHIVE_OPTIONS") as refused:
        Place(config)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [("MAX_SIZE", "0"), ("MAX_SIZE", "2kB"), ("MIN_SECONDS", "-1"), ("MIN_SECONDS", "nan"), ("AUTO_FREEZE", "yes")],
)
def test_a_bad_policy_is_named_at_the_start(name, value):
    with pytest.raises(ConfigError, match=f"^{name}={json.dumps(value)[1:-1]!r}: must be "):
        policy_from_env({name: value})


@pytest.mark.parametrize(
    ("env", "named"),
    [
        ({"AUTH_ISSUER": "https://x"}, "AUTH_AUDIENCE"),
        ({"AUTH_ISSUER": "https://x", "AUTH_AUDIENCE": "y"}, "AUTH_JWKS"),
        ({"EVENTS_ISSUER": "x", "EVENTS_AUDIENCE": "y", "EVENTS_JWKS": "z"}, "EVENTS_SENDERS"),
        ({"AUTH_TOKENS": "x", "WRITER_URL": "http://writer"}, "AUTH_SERVICE_TOKEN"),
        ({"AUTH_PATH": "virgo"}, "AUTH_PATH"),
        ({"AUTH_PATH": "/virgo/../x"}, "AUTH_PATH"),
        ({"AUTH_PUBLIC_READ": "perhaps"}, "AUTH_PUBLIC_READ"),
    ],
)
def test_what_cannot_be_trusted_is_named_at_start(env, named):
    with pytest.raises(ConfigError, match=named):
        auth_from_env(env)


def test_clients_give_idle_connections_up_before_servers_do():
    assert CLIENT_IDLE_TIMEOUT < KEEP_ALIVE / 2


def test_a_block_may_be_as_long_as_all_bodies_together():
    assert limits_from_env({}).block == 32 << 20
    assert limits_from_env({"MAX_BODY": "1000", "MAX_BODIES": "5000"}).block == 5000  # set before there were blocks
    assert limits_from_env({"MAX_BODY": "1000", "MAX_BODIES": "5000", "MAX_BLOCK": "3000"}).block == 3000
