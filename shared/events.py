"""CloudEvents: our types, decoding from HTTP in every mode, and encoding. The only module that knows the SDK.

Imperative types are requests, past-tense types report what has happened. Consumers accept duplicates: source and id
identify an event, as the specification says.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from cloudevents.conversion import to_structured
from cloudevents.exceptions import GenericException
from cloudevents.http import CloudEvent, from_http

from shared.decoding import json_decoder
from shared.errors import BadRequest
from shared.trace_context import TRACEPARENT, TRACESTATE, outgoing

PREFIX = "eu.intertwin.datastore."
SEGMENT, FREEZE, CLEANALL = PREFIX + "segment", PREFIX + "freeze", PREFIX + "cleanall"
COMMIT = PREFIX + "commit"
FROZEN, CLEANED, STORED = PREFIX + "frozen", PREFIX + "cleaned", PREFIX + "stored"
SPECTROGRAM, DATASET = PREFIX + "spectrogram", PREFIX + "dataset"
PING = "dev.knative.sources.ping"

BATCH = "application/cloudevents-batch+json"
STRUCTURED = "application/cloudevents+json"


class Event(msgspec.Struct, gc=False):
    """A received event; `data` holds the payload exactly as sent, of JSON payloads the text.

    `traceparent` and `tracestate` are the extension attributes, not checked.
    """

    id: str
    source: str
    type: str
    data: bytes
    traceparent: Any = None
    tracestate: Any = None


class _Envelope(msgspec.Struct):
    """The JSON format of an event; `data` is not decoded, so that numbers keep all their digits."""

    specversion: str
    id: str
    source: str
    type: str
    data: msgspec.Raw = msgspec.Raw(b"")
    data_base64: str = ""
    traceparent: Any = None
    tracestate: Any = None

    def event(self) -> Event:
        _check(self.specversion, self.id, self.source, self.type)
        try:
            data = base64.b64decode(self.data_base64, validate=True) if self.data_base64 else bytes(self.data)
        except ValueError:
            raise BadRequest("CloudEvent: data_base64 must be base64") from None
        return Event(self.id, self.source, self.type, data, self.traceparent, self.tracestate)


_envelope = json_decoder(_Envelope)
_envelopes = json_decoder(list[_Envelope])


def is_event(headers: Mapping[str, str]) -> bool:
    """True if a request carries CloudEvents, in any mode; header names are in lower case."""
    return "ce-specversion" in headers or headers.get("content-type", "").startswith("application/cloudevents")


def is_binary(headers: Mapping[str, str]) -> bool:
    """True if a request is one CloudEvent in binary mode: its body is the data, and Content-Type that of the data."""
    return "ce-specversion" in headers and not headers.get("content-type", "").startswith("application/cloudevents")


def decode(headers: Mapping[str, str], body: bytes) -> list[Event]:
    """Decode the events of a request for which `is_event` is true: one, or any number in batch mode.

    Raises:
        BadRequest: not a CloudEvent of specversion 1.0; the text names the fault.
    """
    content = headers.get("content-type", "").split(";")[0].strip().lower()
    try:
        if content == BATCH:
            return [envelope.event() for envelope in _envelopes.decode(body)]
        if content.startswith("application/cloudevents"):
            return [_envelope.decode(body).event()]
        event = from_http(dict(headers), body, data_unmarshaller=lambda data: data)
    except msgspec.DecodeError as error:
        raise BadRequest(f"CloudEvent: {error}") from None
    except RecursionError:
        raise BadRequest("CloudEvent: JSON must be nested less deeply") from None
    except (GenericException, ValueError, TypeError) as error:
        raise BadRequest(f"CloudEvent: {error}") from None
    _check(event["specversion"], event["id"], event["source"], event["type"])
    trace = event.get(TRACEPARENT), event.get(TRACESTATE)
    return [Event(event["id"], event["source"], event["type"], body, *trace)]


def _check(specversion: str, *required: str) -> None:
    if specversion != "1.0":
        raise BadRequest("CloudEvent: specversion must be 1.0")
    if not all(required):
        raise BadRequest("CloudEvent: id, source and type must not be empty")
    if sum(map(len, required)) > 1024:
        raise BadRequest("CloudEvent: id, source and type must have at most 1024 characters together")


def encode(type: str, source: str, id: str, data: Mapping[str, object]) -> tuple[dict[str, str], bytes]:
    """Encode one event in structured mode, as part of the current trace; return headers and body."""
    attributes = {"type": type, "source": source, "id": id, "datacontenttype": "application/json", **outgoing()}
    headers, body = to_structured(CloudEvent(attributes, dict(data)))
    return headers, body


class _Outgoing(msgspec.Struct, gc=False):
    specversion: str
    id: str
    source: str
    type: str
    data: msgspec.Struct


def encode_batch(
    type: str, source: str, ids: Sequence[str], data: Sequence[msgspec.Struct]
) -> tuple[dict[str, str], bytes]:
    """Encode events in batch mode, which the SDK lacks; return headers and body."""
    events = [_Outgoing("1.0", id, source, type, item) for id, item in zip(ids, data, strict=True)]
    return {"content-type": BATCH}, msgspec.json.encode(events)
