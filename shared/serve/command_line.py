"""The command `python -m shared.serve`: its arguments, and what keeps a function from starting, in words.

What is wrong with a setting is said before anything is opened or made, with its variable, its value and what is right.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Mapping
from importlib.util import find_spec

from shared import config
from shared.auth.tokens import read_tokens
from shared.clients.service_token import ServiceToken
from shared.clients.writer import RemoteWriter
from shared.config import AuthMode, ConfigError, StoreConfig
from shared.config.version import program_version
from shared.rights import explained

USAGE = """\
usage: make run [VARIABLE=value ...], or: [VARIABLE=value ...] python -m shared.serve [--help | --version]

Serves the function that FUNCTION_TARGET names, by default `datastore`, the whole store. Settings are environment
variables; those that a newcomer needs:

  SERVURL      host:port to serve at (127.0.0.1:8080)
  ROOT         folder of the data (./var)
  MAX_SIZE     bytes from which a batch may be frozen
  AUTH_TOKENS  file of hashed tokens; without it no credentials are needed (make token issues one)
  PREPROC      auto, or off: whether spectrograms of a frozen batch are made

docs/reference.md lists all of them. Ctrl+C ends the server; what it has acknowledged is durable.
"""
_CALL_WRITER = ("ingest", "freeze", "cleanall")  # targets
_OUTSIDE = ("FUNCTION_TARGET", "FAILPOINTS")  # read by other modules than `shared.config`
_UNUSABLE = (errno.ENOTDIR, errno.ENOENT, errno.EACCES, errno.EPERM, errno.EEXIST)  # waiting does not cure them


def known_variables() -> set[str]:
    """Every variable that a function reads."""
    return config.declared_variables() | set(_OUTSIDE)


def mistyped(env: Mapping[str, str]) -> list[str]:
    """Warnings about variables that are nearly named as a known one: other underscores, or one letter more or less."""
    known = known_variables()
    plain = {name.replace("_", ""): name for name in known}
    found = []
    for name in env.keys() - known:
        bare = name.replace("_", "").upper()
        meant = plain.get(bare) or next((right for key, right in plain.items() if _one_letter_apart(bare, key)), "")
        if meant and len(bare) > 5:  # shorter names are near to others by chance
            found.append(f"{name} is not a variable of the store and has no effect; {meant} is one")
    return sorted(found)


def _one_letter_apart(a: str, b: str) -> bool:
    longer, shorter = (a, b) if len(a) >= len(b) else (b, a)
    return len(longer) - len(shorter) == 1 and any(longer[:i] + longer[i + 1 :] == shorter for i in range(len(longer)))


def check_settings(env: Mapping[str, str], target: str) -> None:
    """Read every setting of a function, and the files with tokens.

    Raises:
        ConfigError: one cannot be used; the text says what is right.
    """
    config.policy_from_env(env)
    config.limits_from_env(env)
    config.telemetry_from_env(env)
    trust = config.auth_from_env(env)
    settings = config.store_from_env(env)
    if target in ("strain", "datastore"):
        config.strain_from_env(env)
    elif target == "logic":
        ServiceToken(config.logic_from_env(env).service_token)
    elif target == "glitchflow":
        ServiceToken(config.glitchflow_from_env(env).service_token)
    elif target in _CALL_WRITER:
        RemoteWriter.from_config(settings)
    try:
        from shared import failpoints  # it reads the process's own variable when it is imported

        failpoints.parse(env.get("FAILPOINTS", ""))
    except ValueError as error:
        raise ConfigError(str(error)) from None
    if "://" in settings.host:
        scheme = settings.host.partition("://")[0]
        raise ConfigError(f"SERVURL={env.get('SERVURL')!r}: must be host:port, without {scheme}://")
    if trust.tokens:
        try:
            with open(trust.tokens, encoding="utf-8") as file:
                read_tokens(file.read())
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            expected = "must be a file of lines as `make token` prints them"
            raise ConfigError(f"AUTH_TOKENS={trust.tokens!r}: {reason}; {expected}") from None


def listen(settings: StoreConfig) -> socket.socket:
    """Bind the address, so that nothing is made for a server that cannot be reached.

    Raises:
        ConfigError: it cannot be bound.
    """
    address = settings.host, settings.port
    try:
        family = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server(address, family=family, backlog=2048)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            reason = "something is served there already; end it, or choose another port"
        else:
            reason = f"{os.strerror(error.errno) if error.errno else error}; must be an address of this machine"
        raise ConfigError(f"SERVURL='{settings.host}:{settings.port}': {reason}") from None


def check_folders(settings: StoreConfig) -> None:
    """Make the store's folders.

    Raises:
        ConfigError: one cannot be made, and waiting does not change that. Of a full volume the store itself complains.
    """
    for folder in (settings.adm_root, settings.log_root, settings.volume_root):
        try:
            os.makedirs(folder, exist_ok=True)
        except OSError as error:
            if error.errno in _UNUSABLE:
                hint = f"user {os.getuid()} must be able to make folders there; ROOT chooses another place"
                raise ConfigError(explained(f"{folder}: cannot be made: {error.strerror}; {hint}", folder)) from None


def banner(settings: StoreConfig, access: AuthMode) -> str:
    """What a store says when it is there: its address, its folder, who may use it, and how to end it."""
    host = "127.0.0.1" if settings.host == "0.0.0.0" else settings.host  # noqa: S104 - compared, not bound
    shown = f"[{host}]" if ":" in host else host
    who = {
        "on": "with credentials (AUTH_TOKENS, AUTH_ISSUER)",
        "off": "without credentials, from this machine only",
        "exposed": "WITHOUT CREDENTIALS, FROM ANY MACHINE",
    }[access]
    spectrograms = "of every frozen batch" if settings.preproc_auto else "off (PREPROC)"
    if settings.preproc_auto and find_spec("gwpy") is None:
        spectrograms = "not installed: `make .venv/.extras` adds them"
    return f"""\
DT Datastore {program_version()} serves at http://{shown}:{settings.port}/
  data          {os.path.commonpath([settings.adm_root, settings.volume_root])}
  access        {who}
  spectrograms  {spectrograms}
  next          docs/first-ten-minutes.md; `make demo` shows it with real strain
Ctrl+C ends it."""
