"""Finished spans to an OTLP collector: the only module that imports the OpenTelemetry SDK."""

import threading
from collections.abc import Mapping, Sequence

from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from sipgw.runtime.telemetry.traces import AttributeValue, RootSpan, TraceIds

_SCOPE = InstrumentationScope("sipgw")
_SHUTDOWN_S = 2.0
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)


class SpanExport:
    """Builds spans with ids chosen by the caller and exports them in batches from its own thread."""

    def __init__(self, service: str, instance: str) -> None:
        self._resource = Resource.create(
            {"service.name": service, "service.namespace": "sipgw", "service.instance.id": instance}
        )
        self._exporter: SpanExporter = OTLPSpanExporter()
        self._processor = BatchSpanProcessor(self._exporter)

    def send(
        self,
        ids: TraceIds,
        parent: TraceIds | None,
        name: str,
        start_ns: int,
        end_ns: int,
        attributes: Mapping[str, AttributeValue],
        error: str | None,
    ) -> None:
        """Queue one finished span; a full queue drops it."""
        self._processor.on_end(self._span(ids, parent, name, start_ns, end_ns, attributes, error))

    def send_now(self, roots: Sequence[RootSpan]) -> bool:
        """Export root spans past the queue and wait for the collector's answer."""
        spans = [
            self._span(root.ids, None, root.name, root.start_ns, root.end_ns, root.attributes, root.error)
            for root in roots
        ]
        return self._exporter.export(spans) is SpanExportResult.SUCCESS

    def _span(
        self,
        ids: TraceIds,
        parent: TraceIds | None,
        name: str,
        start_ns: int,
        end_ns: int,
        attributes: Mapping[str, AttributeValue],
        error: str | None,
    ) -> ReadableSpan:
        return ReadableSpan(
            name=name,
            context=_context(ids, is_remote=False),
            parent=_context(parent, is_remote=True) if parent is not None else None,
            resource=self._resource,
            attributes=dict(attributes),
            kind=SpanKind.SERVER if parent is None else SpanKind.INTERNAL,
            status=Status(StatusCode.ERROR, error) if error is not None else Status(),
            start_time=start_ns,
            end_time=end_ns,
            instrumentation_scope=_SCOPE,
        )

    def shutdown(self) -> None:
        """Export the queued spans; wait at most `_SHUTDOWN_S` for a collector that does not answer."""
        last_words = threading.Thread(target=self._processor.shutdown, daemon=True)
        last_words.start()
        last_words.join(_SHUTDOWN_S)
        if last_words.is_alive():
            self._exporter.shutdown()  # abort the call and its retries, so that no thread outlives this
            last_words.join(_SHUTDOWN_S)


def _context(ids: TraceIds, *, is_remote: bool) -> SpanContext:
    return SpanContext(int(ids.trace_id, 16), int(ids.span_id, 16), is_remote, _SAMPLED)
