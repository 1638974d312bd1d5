"""One connection of uvicorn's, with bounds on its requests and on the time that they take."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any, ClassVar, cast

import httptools
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from shared.config import Limits
from shared.errors import BadRequest, Busy, HeaderTooLarge, TooSlow, WrongMethod
from shared.web.asgi import ANSWERED, AUTHENTICATED, encoded
from shared.web.error_responses import error_response
from shared.web.messages import Response
from shared.web.refusals import REFUSALS

_MIN_RATE = 1024  # bytes a second that a client must take of a response
_BYTES_ACKED = 120  # offset in Linux's struct tcp_info


class _CoalescingTransport:
    """A transport that sends together what is written in one turn of the loop.

    uvicorn writes a response's head, then its body, and uvloop sends each at once. That would be two system calls, and
    the client would wake up for the first in vain.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self.is_closing = transport.is_closing  # by name, because each response needs it
        self._loop = loop
        self._waiting: list[bytes] = []

    def write(self, data: bytes) -> None:
        if not self._waiting:
            self._loop.call_soon(self._flush)
        self._waiting.append(data)

    def _flush(self) -> None:
        if self._waiting:
            data = b"".join(self._waiting)
            self._waiting.clear()
            if not self.is_closing():  # the client may have closed it since
                self._transport.write(data)

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class LimitedConnection(HttpToolsProtocol):
    """A connection that bounds a request's head, and the times in which requests arrive and responses leave.

    An offer to upgrade is ignored, as RFC 9110 (7.8) allows. The parser cannot be told so: it takes the bytes behind
    such a head for another protocol's, and uvicorn would read them as the next request (uvicorn#2722). So the head is
    parsed again without the offer, by a new parser, which then reads the body as it is framed.

    One timer per connection, two ticks per timeout. A request still incomplete at the third tick is answered 408, and a
    client that has taken too little of a response by then is cut off.

    `scope` belongs to the newest request; it has a path once the head is complete.

    Attributes:
        guarded: whether requests need credentials. If so, connections that have shown none have half of the room at
            most, and make room for others, the oldest first.
        strangers: the connections that have shown none, oldest first.
    """

    limits = Limits()
    guarded = False
    strangers: ClassVar[dict[LimitedConnection, None]] = {}

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the timer, and find room among the other connections."""
        super().connection_made(cast(asyncio.Transport, _CoalescingTransport(transport, self.loop)))
        self._app = self.app
        self._head = 0  # bytes of an unfinished head
        self._ended = False  # a request has ended in the bytes that are parsed
        self._incomplete: object = None  # scope of the request that was incomplete at the last tick
        self._ticks = 0  # at which it was
        self._taken = 0  # bytes that the client had taken when it began to be slow
        self._slow_ticks = 0  # at which it was
        self._timer = self.loop.call_later(self.limits.request_timeout / 2, self._tick)
        if self.guarded:
            self.app_state = {AUTHENTICATED: self._authenticated}  # in the scope of each request
            self.strangers[self] = None
            self._make_room()
        # Those that came before are served, however many come.
        self._beyond = len(self.connections) > self.limits.connections
        if self._beyond:
            self.app = self._check

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer."""
        self._timer.cancel()
        self.strangers.pop(self, None)
        super().connection_lost(exc)

    def _authenticated(self) -> None:
        self.strangers.pop(self, None)
        self.app_state = {}

    def _make_room(self) -> None:
        """Close the oldest connection without credentials, if there are too many of them or of all."""
        most = self.limits.connections
        if len(self.strangers) > max(most // 2, 1) or len(self.connections) > most:
            oldest = next(iter(self.strangers))
            if oldest is not self:
                del self.strangers[oldest]
                self.connections.discard(oldest)  # now, because the event loop closes it a little later
                oldest.cut_off()

    def cut_off(self) -> None:
        """Close the connection without waiting for its client."""
        if self.transport.get_write_buffer_size():
            self._reset()
        else:
            self.transport.close()

    def _reset(self) -> None:
        # Otherwise the kernel would keep what it has not delivered, and wait for the client in our place.
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Parse what has arrived, and measure the head in it."""
        self._head += len(data)
        if self._head > self.limits.header:  # of a head, or of a body, so the head is measured again
            self.app = self._check
        self._ended = False
        self._unset_keepalive_if_required()
        self._parse(data)
        if self.scope is not None and "path" in self.scope:
            self._head = 0
        elif self._ended:  # the unfinished head has begun somewhere in these bytes
            self._head = 0
            self.app = self._check
        elif self._head > self.limits.header:
            self._abort(self._header_too_large())

    def _parse(self, data: bytes | memoryview) -> None:
        try:
            while data:
                try:
                    self.parser.feed_data(data)
                    return
                except httptools.HttpParserUpgrade as upgrade:
                    data = memoryview(data)[upgrade.args[0] :]
                    if self.parser.get_method() == b"CONNECT":  # what follows is meant for a tunnel
                        self._abort(WrongMethod("this server opens no tunnels"))
                        return
                    self._parse_without_offer()
        except httptools.HttpParserError:
            self._abort(BadRequest("the request must be HTTP/1.1"))

    def on_message_complete(self) -> None:
        """Note that the body has arrived; the parser calls this."""
        self._ended = True
        super().on_message_complete()

    def _should_upgrade(self) -> bool:
        # uvicorn asks this about an offer, and leaves its head alone then: it is parsed again without the offer.
        return True

    def _parse_without_offer(self) -> None:
        """Parse the last head again, without its offer to upgrade."""
        lines = [b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())]
        for name, value in self.headers:
            if name == b"connection":
                options = [option.strip() for option in value.split(b",")]
                lines.append(b"%s: %s" % (name, b", ".join(o for o in options if o.lower() != b"upgrade")))
            elif name != b"upgrade":
                lines.append(b"%s: %s" % (name, value))
        self.parser = _new_parser(self)
        self.parser.feed_data(b"\r\n".join((*lines, b"", b"")))

    def _tick(self) -> None:
        self._timer = self.loop.call_later(self.limits.request_timeout / 2, self._tick)
        self._check_reader()
        if not self.transport.is_closing():
            self._check_progress()

    def _check_progress(self) -> None:
        complete = self.scope is not None and "path" in self.scope and not self.cycle.more_body
        if complete:
            self._ticks = 0
        elif self.scope is self._incomplete:
            self._ticks += 1
        else:
            self._incomplete, self._ticks = self.scope, 1
        if self._ticks > 2:  # the whole timeout lies between the first tick and the third
            self._abort(TooSlow(f"the request must arrive within {self.limits.request_timeout:g} s"))

    def _check_reader(self) -> None:
        """Cut off a client that does not read. Closing alone would wait for it."""
        if not self.transport.get_write_buffer_size():
            self._slow_ticks = 0
            return
        # The size of our buffer alone would not do, because the kernel empties it in large steps.
        connection = self.transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 128)
        (taken,) = struct.unpack_from("Q", connection, _BYTES_ACKED)
        if self._slow_ticks and taken - self._taken < _MIN_RATE * self.limits.request_timeout:
            self._slow_ticks += 1
        else:
            self._taken, self._slow_ticks = taken, 1
        if self._slow_ticks > 2:
            self._reset()

    def _header_too_large(self) -> HeaderTooLarge:
        return HeaderTooLarge(f"the request line and headers must have at most {self.limits.header} bytes")

    async def _check(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request whose head must be measured, or whose connection may have no room."""
        lengths = (len(name) + len(value) + 4 for name, value in scope["headers"])
        if self._beyond and len(self.connections) > self.limits.connections:
            await self._refuse(Busy("this process serves as many connections as it may; send it again"), send)
        elif len(scope["raw_path"]) + len(scope["query_string"]) + sum(lengths) > self.limits.header:
            await self._refuse(self._header_too_large(), send)
        else:
            await self._app(scope, receive, send)

    async def _refuse(self, error: Exception, send: Send) -> None:
        response = self._noted(error)
        named = {**response.headers, "content-type": response.type, "connection": "close"}
        await send({"type": "http.response.start", "status": response.status, "headers": encoded(named)})
        await send({"type": "http.response.body", "body": response.body})

    def _noted(self, error: Exception) -> Response:
        """The response to an error, in the log of refusals."""
        response = error_response(error)
        if self.scope is not None or self._head:  # browsers also open connections that they do not use
            scope: Any = self.scope or {}
            address = (self.client or ("?",))[0]
            REFUSALS.note(scope.get("method", "?"), scope.get("path", "?"), address, None, response)
        return response

    def _abort(self, error: Exception) -> None:
        """Answer with an error if no response has started, and close; the function sees a client that is gone."""
        cycle = self.cycle
        in_head = self.scope is None or "path" not in self.scope
        unanswered = cycle is None or (cycle.response_complete if in_head else not cycle.response_started)
        response = self._noted(error)
        # An answer would be taken for that to an earlier request, if one is still under way.
        if unanswered and not self.pipeline and not self.transport.is_closing():
            head = f"HTTP/1.1 {response.status} Refused\r\ncontent-type: {response.type}\r\n"
            body = cast(bytes, response.body)
            if not in_head:
                cast(dict[str, Any], cycle.scope)[ANSWERED] = True
            self.transport.write(f"{head}content-length: {len(body)}\r\nconnection: close\r\n\r\n".encode() + body)
        if cycle is not None:
            cycle.disconnected = True
            cycle.message_event.set()
        self.transport.close()


def _new_parser(protocol: HttpToolsProtocol) -> Any:
    parser = httptools.HttpRequestParser(protocol)
    parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does; it discards what comes then
    return parser
