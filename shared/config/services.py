"""Addresses of the services behind Datastore Logic and GlitchflowAPI: base URLs and endpoints."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from shared.config.env import ENDPOINT, SECONDS, URL, URL_OR_PATH, ConfigError, Environment, choice, value_of
from shared.config.store import StoreConfig

LOGIC_ENDPOINTS = {
    "ENDP_STAT": "stat",
    "ENDP_DUMP": "dumpLogF",
    "ENDP_DUMPF": "dumpF",
    "ENDP_SEND": "sendF",
    "ENDP_DESC": "dstat",
    "ENDP_UPD_DESC": "upddsc",
    "ENDP_CLEAN": "cleanall",
    "ENDP_SEGMENT": "segment",
    "ENDP_ARCHIVES": "archives",
}
GLITCHFLOW_ENDPOINTS = {
    "DS_STAT": "bufstat",
    "DS_SEND": "stream",
    "DS_FREEZE": "freezeds",
    "DS_FLUSH": "flushbuf",
    "DS_DESC": "dsdesc",
    "DS_DUMPF": "dumpf",
}


@dataclass(frozen=True, kw_only=True)
class ServiceEndpoints:
    """A service over HTTP: its base URL, and its endpoints, each a path below the base or a URL of its own.

    Attributes:
        base: base URL.
        timeout: seconds to wait for an answer. Longer than COMMIT_TIMEOUT, so that the service closest to the cause
            answers first.
        endpoints: variable -> path or URL.
        page: URL of the status page.
        products: URL of the list of products.
        sink: broker that takes freeze and cleanall as CloudEvents; empty where they go over HTTP.
        source: the CloudEvents `source` of those events.
        service_token: file with the token for requests to the service.
    """

    base: str
    timeout: float = 15.0
    endpoints: Mapping[str, str] = field(default_factory=dict)
    page: str = ""
    products: str = ""
    sink: str = ""
    source: str = "/datastore"
    service_token: str = ""

    def url(self, name: str) -> str:
        """The URL of the endpoint that this variable names."""
        path = self.endpoints[name]
        return path if "://" in path else f"{self.base.rstrip('/')}/{path.lstrip('/')}"


def logic_from_env(env: Environment = os.environ) -> ServiceEndpoints:
    """The Data Buffer, as Datastore Logic reaches it.

    Raises:
        ConfigError: as `store_from_env`.
    """
    by_event = value_of(env, "ASK_BY", False, choice(http=False, event=True))
    sink = value_of(env, "K_SINK", "", URL)
    if by_event and not sink:
        raise ConfigError("ASK_BY='event': K_SINK must say where events go")
    return ServiceEndpoints(
        base=value_of(env, "DB_BURL", "http://127.0.0.1:8080/", URL),
        timeout=value_of(env, "UPSTREAM_TIMEOUT", ServiceEndpoints.timeout, SECONDS),
        endpoints={name: value_of(env, name, path, ENDPOINT) for name, path in LOGIC_ENDPOINTS.items()},
        products=value_of(env, "PRODUCTS_URL", "", URL),
        sink=sink if by_event else "",
        source=env.get("EVENT_SOURCE") or StoreConfig.source,
        service_token=env.get("AUTH_SERVICE_TOKEN", ""),
    )


def glitchflow_from_env(env: Environment = os.environ) -> ServiceEndpoints:
    """Datastore Logic, as GlitchflowAPI reaches it.

    Raises:
        ConfigError: as `store_from_env`.
    """
    base = value_of(env, "DS_BURL", "http://127.0.0.1:5000/", URL)
    return ServiceEndpoints(
        base=base,
        timeout=value_of(env, "UPSTREAM_TIMEOUT", ServiceEndpoints.timeout + 5, SECONDS),
        endpoints={name: value_of(env, name, path, ENDPOINT) for name, path in GLITCHFLOW_ENDPOINTS.items()},
        page=value_of(env, "DS_PAGE", base, URL_OR_PATH),
        service_token=env.get("AUTH_SERVICE_TOKEN", ""),
    )
