"""Arrakis' protocol: Find, Count, Describe and Stream as commands over Arrow Flight.

Source: the client arrakis 0.21 with schema 0.5. A stream's blocks last one second and begin at whole GPS seconds;
samples that are missing are null.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pyarrow
import pyarrow.compute
from pyarrow import flight

from gwflight.patterns import exactly, glob_of
from gwflight.store import Channel, Store, StoreError

_STRIDE = 10**9  # ns: a block
_READ = 16  # blocks that are read together
_PUBLISHER = "dt-datastore"
_REUSE = "arrow-flight-reuse-connection://?"
_TEXT = pyarrow.string()
_METADATA = pyarrow.schema([
    pyarrow.field("channel", _TEXT, nullable=False),
    pyarrow.field("data_type", _TEXT, nullable=False),
    pyarrow.field("sample_rate", pyarrow.int32(), nullable=False),
    pyarrow.field("partition_id", _TEXT),
    pyarrow.field("partition_index", pyarrow.uint32()),
    pyarrow.field("publisher", _TEXT),
    pyarrow.field("stride", pyarrow.uint64()),
    pyarrow.field("max_latency", pyarrow.uint64()),
    pyarrow.field("replay_id", _TEXT),
])  # fmt: skip
_COUNT = pyarrow.schema([pyarrow.field("count", pyarrow.int64())])


class _Credentials(flight.ServerMiddleware):
    def __init__(self, authorization: str) -> None:
        super().__init__()
        self.authorization = authorization


class _ReadCredentials(flight.ServerMiddlewareFactory):
    """Keeps a call's Authorization header, for the requests to the store."""

    def start_call(self, info: flight.CallInfo, headers: dict[str, list[str]]) -> _Credentials:
        return _Credentials(headers.get("authorization", [""])[0])


class Server(flight.FlightServerBase):
    """Serves the channels of a store.

    Args:
        location: address to listen on, `grpc://host:port`; port 0 takes a free one.
        store_url: address of the store.
    """

    def __init__(self, location: str, store_url: str) -> None:
        super().__init__(location, middleware={"credentials": _ReadCredentials()})
        self._store_url = store_url

    def get_flight_info(self, context: flight.ServerCallContext, descriptor: flight.FlightDescriptor) -> Any:
        """One endpoint, with the command as its ticket: the client asks again on the same connection.

        Raises:
            FlightServerError: the command cannot be answered.
        """
        command = descriptor.command
        request, arguments = _parsed(command)
        schema = {"Count": _COUNT, "Find": _METADATA, "Describe": _METADATA}.get(request)
        if schema is None:
            schema = _stream_schema(self._named(context, arguments["channels"]))
        return flight.FlightInfo(schema, descriptor, [flight.FlightEndpoint(command, [_REUSE])], -1, -1)

    def do_get(self, context: flight.ServerCallContext, ticket: flight.Ticket) -> Any:
        """The answer to a command. Errors as `get_flight_info`."""
        request, arguments = _parsed(ticket.ticket)
        if request == "Stream":
            channels = self._named(context, arguments["channels"])
            schema = _stream_schema(channels)
            start, end = _seconds(arguments)
            return flight.GeneratorStream(schema, self._blocks(context, schema, channels, start, end))
        found = (
            self._named(context, arguments["channels"]) if request == "Describe" else self._found(context, arguments)
        )
        if request == "Count":
            return flight.RecordBatchStream(pyarrow.table({"count": [len(found)]}, schema=_COUNT))
        return flight.RecordBatchStream(pyarrow.Table.from_pylist(list(map(_described, found)), schema=_METADATA))

    def _store(self, context: flight.ServerCallContext) -> Store:
        return Store(self._store_url, context.get_middleware("credentials").authorization)

    def _channels(self, context: flight.ServerCallContext, pattern: str) -> dict[str, Channel]:
        """Channels by name; of several rates the highest."""
        found: dict[str, Channel] = {}
        try:
            for channel in self._store(context).channels(pattern):
                if channel.name and (channel.name not in found or found[channel.name].rate < channel.rate):
                    found[channel.name] = channel
        except StoreError as error:
            raise _flight_error(error) from None
        return found

    def _named(self, context: flight.ServerCallContext, names: list[str]) -> list[Channel]:
        found: dict[str, Channel] = {}
        for name in names:
            found |= self._channels(context, exactly(name))
        if missing := [name for name in names if name not in found]:
            raise flight.FlightServerError(f"there is no channel {', '.join(missing)} at a whole sampling rate")
        return [found[name] for name in names]

    def _found(self, context: flight.ServerCallContext, arguments: dict[str, Any]) -> list[Channel]:
        types, publishers = arguments.get("data_type") or [], arguments.get("publisher") or []
        if (types and "float64" not in types) or (publishers and _PUBLISHER not in publishers):
            return []
        low, high = arguments.get("min_rate") or 0, arguments.get("max_rate") or float("inf")
        try:
            pattern = glob_of(arguments.get("pattern", ".*"))
        except ValueError as error:
            raise flight.FlightServerError(str(error)) from None
        channels = self._channels(context, pattern)
        return [channel for channel in channels.values() if low <= channel.rate <= high]

    def _blocks(
        self, context: flight.ServerCallContext, schema: pyarrow.Schema, channels: list[Channel], start: int, end: int
    ) -> Iterator[pyarrow.RecordBatch]:
        store = self._store(context)
        for first in range(start, end, _READ):
            last = min(first + _READ, end)
            columns = {"time": pyarrow.array([second * _STRIDE for second in range(first, last)], pyarrow.int64())}
            for channel in channels:
                try:
                    samples = store.samples(channel, first, last)
                except StoreError as error:
                    raise _flight_error(error) from None
                columns[channel.name] = _lists(samples, channel.rate)
            blocks = pyarrow.RecordBatch.from_pydict(columns, schema=schema)
            for row in range(last - first):
                # A batch is one block: clients take several rows for a longer one. A second without any samples has
                # none, so that clients notice the gap.
                block = blocks.slice(row, 1)
                if any(column.flatten().null_count < len(column.flatten()) for column in block.columns[1:]):
                    yield block


def _parsed(command: bytes) -> tuple[str, dict[str, Any]]:
    try:
        parsed = json.loads(command)
        request, arguments = parsed["request"], dict(parsed["args"])
        names = arguments["channels"] if request in ("Describe", "Stream") else []
        usable = request in ("Find", "Count", "Describe", "Stream") and all(isinstance(name, str) for name in names)
    except (ValueError, KeyError, TypeError):
        usable, request, arguments = False, "", {}
    if not usable:
        raise flight.FlightServerError("the command must be Find, Count, Describe or Stream, as arrakis 0.21 sends it")
    if arguments.get("replay_id") or arguments.get("replay_start"):
        raise flight.FlightServerError("there are no replays here")
    return request, arguments


def _seconds(arguments: dict[str, Any]) -> tuple[int, int]:
    """The whole seconds that hold a stream's span."""
    start, end = arguments.get("start"), arguments.get("end")
    if not isinstance(start, int) or not isinstance(end, int) or not 0 <= start < end:
        raise flight.FlightServerError("give a start and a later end: live strain is not served here")
    return start // _STRIDE, -(-end // _STRIDE)


def _described(channel: Channel) -> dict[str, object]:
    return {
        "channel": channel.name,
        "data_type": "float64",
        "sample_rate": channel.rate,
        "publisher": _PUBLISHER,
        "partition_id": channel.detector or _PUBLISHER,
        "partition_index": 0,
        "stride": _STRIDE,
        "max_latency": _STRIDE,
    }


def _stream_schema(channels: list[Channel]) -> pyarrow.Schema:
    fields = [pyarrow.field("time", pyarrow.int64(), nullable=False)]
    for channel in sorted(channels):
        field = pyarrow.field(channel.name, pyarrow.list_(pyarrow.float64()))
        fields.append(field.with_metadata({"rate": str(channel.rate)}))
    return pyarrow.schema(fields)


def _lists(samples: bytes, n: int) -> pyarrow.ListArray:
    """Lists of `n` samples each, null where they are NaN."""
    values = pyarrow.Array.from_buffers(pyarrow.float64(), len(samples) // 8, [None, pyarrow.py_buffer(samples)])
    missing = pyarrow.compute.is_nan(values)
    if pyarrow.compute.any(missing).as_py():
        values = pyarrow.compute.if_else(missing, pyarrow.scalar(None, pyarrow.float64()), values)
    offsets = pyarrow.array(range(0, len(values) + 1, n), pyarrow.int32())
    return pyarrow.ListArray.from_arrays(offsets, values)


def _flight_error(error: StoreError) -> flight.FlightError:
    kinds = {
        0: flight.FlightUnavailableError,
        401: flight.FlightUnauthenticatedError,
        403: flight.FlightUnauthorizedError,
        503: flight.FlightUnavailableError,
    }
    found: flight.FlightError = kinds.get(error.status, flight.FlightServerError)(str(error))
    return found
