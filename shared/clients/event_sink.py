"""The event sink: the one place that posts CloudEvents and judges the response."""

from __future__ import annotations

from collections.abc import Mapping

from shared import events
from shared.clients import http
from shared.clients.service_token import ServiceToken
from shared.config import StoreConfig
from shared.errors import UpstreamFailed


class EventSink:
    """Posts CloudEvents to a URL.

    Args:
        url: of the sink.
        source: the events' `source`.
        token: credentials for the sink.
        timeout: seconds to wait for its response.
    """

    def __init__(self, url: str, source: str, token: ServiceToken | None = None, timeout: float = 10.0) -> None:
        self._url = url
        self._source = source
        self._token = token or ServiceToken("")
        self._timeout = timeout

    @classmethod
    def from_config(cls, config: StoreConfig) -> EventSink:
        """The sink at K_SINK, with the token that a SinkBinding mounts.

        Raises:
            ConfigError: the token's file cannot be read.
        """
        return cls(config.sink, config.source, ServiceToken(config.sink_token, "SINK_TOKEN", optional=True))

    def publish(self, type: str, id: str, data: Mapping[str, object]) -> None:
        """Post one event.

        Raises:
            UpstreamFailed: the sink does not take it, or does not answer.
        """
        headers, body = events.encode(type, self._source, id, data)
        response = http.post(self._url, headers | self._token.headers(), body, self._timeout)
        if not 200 <= response.status < 300:
            raise UpstreamFailed(f"{self._url} answers {response.status}")
