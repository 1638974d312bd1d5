"""The event sink: where CloudEvents are posted."""

from __future__ import annotations

from collections.abc import Mapping

from shared import events
from shared.clients import http
from shared.clients.service_token import ServiceToken
from shared.config import StoreConfig
from shared.errors import Busy, UpstreamFailed

_TIMEOUT = 10.0  # seconds


class EventSink:
    """Posts CloudEvents to a URL."""

    def __init__(self, url: str, source: str, token: ServiceToken | None = None) -> None:
        self._url = url
        self._source = source
        self._token = token or ServiceToken("")

    @classmethod
    def from_config(cls, config: StoreConfig) -> EventSink:
        """The sink at K_SINK, with the token that a SinkBinding mounts.

        Raises:
            ConfigError: the token's file cannot be read.
        """
        return cls(config.sink, config.source, ServiceToken(config.sink_token, optional=True))

    def publish(self, type: str, id: str, data: Mapping[str, object]) -> None:
        """Post one event.

        Raises:
            UpstreamFailed: the sink does not take it, or does not answer.
        """
        headers, body = events.encode(type, self._source, id, data)
        try:
            status, _ = http.post(self._url, headers | self._token.headers(), body, timeout=_TIMEOUT)
        except Busy as error:
            raise UpstreamFailed(str(error)) from error
        if not 200 <= status < 300:
            raise UpstreamFailed(f"{self._url} answers {status}")
