"""CloudEvents: the types we use, reading them from HTTP in every mode, and writing them. The only user of the SDK.

Imperative types are requests, past-tense types are facts. Consumers accept duplicates: `Event.key` names an event
by source and id, as the specification does.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence

import msgspec
from cloudevents.conversion import to_structured
from cloudevents.exceptions import GenericException
from cloudevents.http import CloudEvent, from_http

from shared.errors import BadRequest

PREFIX = "eu.intertwin.datastore."
SEGMENT, FREEZE, CLEANALL = PREFIX + "segment", PREFIX + "freeze", PREFIX + "cleanall"
COMMIT = PREFIX + "commit"
FROZEN, CLEANED, STORED = PREFIX + "frozen", PREFIX + "cleaned", PREFIX + "stored"
SPECTROGRAM = PREFIX + "spectrogram"
PING = "dev.knative.sources.ping"

BATCH = "application/cloudevents-batch+json"
STRUCTURED = "application/cloudevents+json"


class Event(msgspec.Struct, gc=False):
    """A received event; `data` is the payload's bytes exactly as sent, for JSON payloads the JSON text."""

    id: str
    source: str
    type: str
    data: bytes

    @property
    def key(self) -> str:
        """Names the event among all events, so that a second delivery is recognised."""
        return f"{self.source} {self.id}"


class _Envelope(msgspec.Struct):
    """The JSON format of an event; `data` stays unread, so that numbers keep every digit they were sent with."""

    specversion: str
    id: str
    source: str
    type: str
    data: msgspec.Raw = msgspec.Raw(b"")
    data_base64: str = ""

    def open(self) -> Event:
        _check(self.specversion, self.id, self.source, self.type)
        try:
            data = base64.b64decode(self.data_base64, validate=True) if self.data_base64 else bytes(self.data)
        except ValueError:
            raise BadRequest("CloudEvent: data_base64 is not base64") from None
        return Event(self.id, self.source, self.type, data)


_envelope = msgspec.json.Decoder(_Envelope)
_envelopes = msgspec.json.Decoder(list[_Envelope])


def is_event(headers: Mapping[str, str]) -> bool:
    """Whether a request carries CloudEvents, in any mode; header names are in lower case."""
    return "ce-specversion" in headers or headers.get("content-type", "").startswith("application/cloudevents")


def decode(headers: Mapping[str, str], body: bytes) -> list[Event]:
    """The events in a request for which `is_event` holds: one, or any number in batch mode.

    Raises:
        BadRequest: not a CloudEvent of specversion 1.0; the text says why.
    """
    content = headers.get("content-type", "").split(";")[0].strip().lower()
    try:
        if content == BATCH:
            return [envelope.open() for envelope in _envelopes.decode(body)]
        if content.startswith("application/cloudevents"):
            return [_envelope.decode(body).open()]
        event = from_http(dict(headers), body, data_unmarshaller=lambda data: data)
    except msgspec.DecodeError as error:
        raise BadRequest(f"CloudEvent: {error}") from None
    except RecursionError:
        raise BadRequest("CloudEvent: JSON is nested too deeply") from None
    except (GenericException, ValueError, TypeError) as error:
        raise BadRequest(f"CloudEvent: {error}") from None
    _check(event["specversion"], event["id"], event["source"], event["type"])
    return [Event(event["id"], event["source"], event["type"], body)]


def _check(specversion: str, *required: str) -> None:
    if specversion != "1.0":
        raise BadRequest("CloudEvent: specversion must be 1.0")
    if not all(required):
        raise BadRequest("CloudEvent: id, source and type must not be empty")
    if sum(map(len, required)) > 1024:
        raise BadRequest("CloudEvent: id, source and type are too long")


def encode(type: str, source: str, id: str, data: Mapping[str, object], **extra: str) -> tuple[dict[str, str], bytes]:
    """Headers and body of one event in structured mode."""
    attributes = {"type": type, "source": source, "id": id, "datacontenttype": "application/json", **extra}
    headers, body = to_structured(CloudEvent(attributes, dict(data)))
    return headers, body


class _Outgoing(msgspec.Struct):
    specversion: str
    id: str
    source: str
    type: str
    data: msgspec.Struct


def encode_batch(
    type: str, source: str, ids: Sequence[str], data: Sequence[msgspec.Struct]
) -> tuple[dict[str, str], bytes]:
    """Headers and body of events in batch mode, which the SDK does not have."""
    events = [_Outgoing("1.0", id, source, type, item) for id, item in zip(ids, data, strict=True)]
    return {"content-type": BATCH}, msgspec.json.encode(events)
