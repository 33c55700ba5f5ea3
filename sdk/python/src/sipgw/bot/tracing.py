"""The handler as a span of the call's trace, beside the gateway's spans.

OpenTelemetry is no dependency: a bot that has set it up gets the span, and its own spans are below it.
"""

import logging
import os
import sys
from contextlib import AbstractContextManager, nullcontext

from sipgw.bot.config import CallConfig

_log = logging.getLogger("sipgw.bot")
_ENDPOINT_VARIABLES = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


def configure_tracing() -> None:
    """Export over OTLP/gRPC if OTEL_EXPORTER_OTLP_ENDPOINT is set and there is no tracer yet."""
    if not any(os.environ.get(name) for name in _ENDPOINT_VARIABLES):
        return
    try:
        from opentelemetry import trace
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        _log.warning("OTEL_EXPORTER_OTLP_ENDPOINT needs OpenTelemetry: pip install sipgw-bot[trace]")
        return
    if isinstance(trace.get_tracer_provider(), TracerProvider):
        return
    name = os.environ.get("OTEL_SERVICE_NAME", "bot")
    provider = TracerProvider(resource=Resource.create({"service.name": name}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)


def handler_span(config: CallConfig) -> AbstractContextManager[object]:
    """Wrap the handler of one call in a child of the gateway's span, the current span within."""
    if not config.traceparent or "opentelemetry.trace" not in sys.modules:
        return nullcontext()
    from opentelemetry import trace
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    parent = TraceContextTextMapPropagator().extract({"traceparent": config.traceparent})
    attributes = {"sipgw.call_id": config.call_id, "sipgw.route": config.route}
    return trace.get_tracer("sipgw.bot").start_as_current_span("bot", context=parent, attributes=attributes)
