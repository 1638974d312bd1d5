"""Blocks for tests, as pyarrow writes them, and as text."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy
import pyarrow as pa
import pytest

ARROW = "application/vnd.apache.arrow.stream"
NDJSON = "application/x-ndjson"
T0 = 1126259446  # GPS seconds
NS = 1_000_000_000


def field(name: str, type: pa.DataType | None = None, rate: object = 4096) -> pa.Field:
    return pa.field(name, pa.list_(type or pa.float64()), metadata={"rate": str(rate), "unit": "strain"})


def stream(fields: Sequence[pa.Field], rows: Iterable[Sequence[object]], per_batch: int = 1) -> bytes:
    """A body: a column `time`, the fields, and rows of a time in ns and a list for each field."""
    schema = pa.schema([pa.field("time", pa.int64(), nullable=False), *fields])
    sink = io.BytesIO()
    rows = list(rows)
    with pa.ipc.new_stream(sink, schema) as writer:
        for first in range(0, len(rows), per_batch):
            columns = zip(*rows[first : first + per_batch], strict=True)
            arrays = [pa.array(column, type=f.type) for column, f in zip(columns, schema, strict=True)]
            writer.write_batch(pa.record_batch(arrays, schema=schema))
    return sink.getvalue()


def arrow_block(
    channels: int | Sequence[str] = 3, n: int = 300, t0: float = T0, rate: int = 4096, seed: int = 0
) -> bytes:
    """A body with the same times for all channels."""
    names = [f"V1:CH_{i}" for i in range(channels)] if isinstance(channels, int) else channels
    dice = random.Random(seed)
    row = [round(t0 * NS), *([dice.gauss(0, 1e-21) for _ in range(n)] for _ in names)]
    return stream([field(name, rate=rate) for name in names], [row])


def segments(channels: int = 3, n: int = 300, t0: float = T0, rate: int = 4096) -> list[dict[str, object]]:
    return [{"h": [i * 1e-21] * n, "t": [t0, 1 / rate], "channel": f"V1:CH_{i}"} for i in range(channels)]


def ndjson_block(channels: int = 3, n: int = 300, t0: float = T0, rate: int = 4096) -> bytes:
    return b"".join(json.dumps(one).encode() + b"\n" for one in segments(channels, n, t0, rate))


def arrakis_block() -> tuple[bytes, dict[str, numpy.ndarray]]:
    """Three seconds of three channels as Arrakis' own classes write them, and their samples; ten are masked."""
    arrakis = pytest.importorskip("arrakis")
    from arrakis import schemas
    from arrakis.block import SeriesBlock

    channels = {
        "V1:Hrec_hoft": arrakis.Channel("V1:Hrec_hoft", numpy.dtype("float64"), 16384),
        "V1:LSC_DARM": arrakis.Channel("V1:LSC_DARM", numpy.dtype("float32"), 512),
        "V1:ENV_CEB": arrakis.Channel("V1:ENV_CEB", numpy.dtype("int32"), 16),
    }
    schema = schemas.stream(channels.values())
    sink = io.BytesIO()
    dice = numpy.random.default_rng(1)
    sent: dict[str, list] = {name: [] for name in channels}
    with pa.ipc.new_stream(sink, schema) as writer:
        for second in range(3):
            data = {
                name: numpy.ma.masked_array((dice.normal(size=int(c.sample_rate)) * 100).astype(c.data_type), False)
                for name, c in channels.items()
            }
            for name, values in data.items():
                sent[name].append(values.data.copy())
            if second == 1:
                data["V1:LSC_DARM"][10:20] = numpy.ma.masked
            block = SeriesBlock((T0 + second) * NS, data, channels)
            writer.write_batch(block.to_column_batch(schema))
    return sink.getvalue(), {name: numpy.concatenate(parts) for name, parts in sent.items()}


def held(record: Mapping[str, Any]) -> list[list[Any]]:
    """Detector, channel, t0, dt and n of each run in a record, as the log shows it."""
    return [[detector, channel, t0, dt, n] for detector, t0, dt, n, names in record["holds"] for channel in names]
