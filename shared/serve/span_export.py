"""Export of spans over OTLP/HTTP, with OpenTelemetry's SDK, which is an extra. The only module that knows it.

The SDK reads its variables itself: OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_SERVICE_NAME, OTEL_EXPORTER_OTLP_HEADERS
and others.
"""

from __future__ import annotations

import atexit
import importlib.util
import logging

from shared.web.spans import EXPORTERS, Span

log = logging.getLogger(__name__)


def start(function: str) -> None:
    """Export the spans of requests that are served from now on; only warn if the extra is not installed."""
    if not _installed():
        log.warning("OTEL_EXPORTER_OTLP_ENDPOINT is set, but the extra `otel` is not installed: no spans are sent")
        return
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.trace import SpanContext, SpanKind, TraceFlags, TraceState
    from opentelemetry.trace.status import Status, StatusCode

    resource = Resource.create({"service.name": function, "service.namespace": "dt-datastore"})
    processor = BatchSpanProcessor(OTLPSpanExporter())  # a thread of its own, and a bounded queue
    atexit.register(processor.shutdown)

    def context(trace_id: str, span_id: str, span: Span, *, remote: bool) -> SpanContext:
        state = TraceState.from_header([span.trace.state])
        return SpanContext(int(trace_id, 16), int(span_id, 16), remote, TraceFlags(span.trace.flags), state)

    def export(span: Span) -> None:
        trace = span.trace
        processor.on_end(
            ReadableSpan(
                name=f"{span.method} /{span.path.split('/')[1] if '/' in span.path else ''}",  # few different names
                context=context(trace.trace_id, trace.span_id, span, remote=False),
                parent=context(trace.trace_id, trace.parent_id, span, remote=True),
                resource=resource,
                kind=SpanKind.SERVER,
                attributes={
                    "http.request.method": span.method,
                    "url.path": span.path,
                    "http.response.status_code": span.status,
                },
                start_time=span.begin,
                end_time=span.end,
                status=Status(StatusCode.ERROR if span.status >= 500 else StatusCode.UNSET),
            )
        )

    EXPORTERS.append(export)


def _installed() -> bool:
    try:
        return importlib.util.find_spec("opentelemetry.exporter.otlp.proto.http") is not None
    except ModuleNotFoundError:
        return False
