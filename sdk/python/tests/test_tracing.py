"""The bot's part of the call's trace."""

import subprocess
import sys
from collections.abc import Iterator
from concurrent import futures

import grpc
import numpy as np
import pytest
from opentelemetry import trace
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from sipgw.bot import Call
from sipgw.bot.testing import TestCaller

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)
    yield exporter
    provider.shutdown()


async def test_the_handler_is_a_child_of_the_gateways_span_and_parent_of_the_bots_own(
    exported: InMemorySpanExporter,
):
    async def bot(call: Call) -> None:
        with trace.get_tracer("mine").start_as_current_span("think"):
            await call.play(np.ones(160, np.int16))

    async with TestCaller(bot, traceparent=TRACEPARENT) as caller:
        await caller.hear(ms=20)
    think, handler = exported.get_finished_spans()
    assert (handler.name, think.name) == ("bot", "think")
    assert handler.parent is not None
    assert f"{handler.parent.trace_id:032x}-{handler.parent.span_id:016x}" == f"{TRACE}-{PARENT}"
    assert think.parent is not None
    assert think.parent.span_id == handler.context.span_id
    assert handler.attributes is not None
    assert handler.attributes["sipgw.call_id"] == "test-call"


async def test_a_handler_that_fails_is_a_failed_span(exported: InMemorySpanExporter):
    async def bot(call: Call) -> None:
        raise KeyError("oops")

    with pytest.raises(AssertionError, match="bot failed"):
        async with TestCaller(bot, traceparent=TRACEPARENT):
            pass
    (handler,) = exported.get_finished_spans()
    assert not handler.status.is_ok


async def test_without_a_traceparent_there_is_no_span(exported: InMemorySpanExporter):
    async def bot(call: Call) -> None:
        pass

    async with TestCaller(bot):
        pass
    assert exported.get_finished_spans() == ()


def test_a_bot_that_is_served_exports_when_the_endpoint_is_set():
    names: list[str] = []

    class Collector(trace_service_pb2_grpc.TraceServiceServicer):
        def Export(self, request, context):
            for resource in request.resource_spans:
                names.extend(pair.value.string_value for pair in resource.resource.attributes)
                names.extend(span.name for scope in resource.scope_spans for span in scope.spans)
            return trace_service_pb2.ExportTraceServiceResponse()

    server = grpc.server(futures.ThreadPoolExecutor(2))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(Collector(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    code = (
        "from sipgw.bot.tracing import configure_tracing, handler_span\n"
        "from sipgw.bot.config import CallConfig\n"
        "from sipgw.audio import AudioFormat, Codec\n"
        "configure_tracing()\n"
        f"config = CallConfig('c', AudioFormat(Codec.PCMU, 8000, 20), traceparent='{TRACEPARENT}')\n"
        "with handler_span(config): pass\n"
    )
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}", "OTEL_SERVICE_NAME": "my-bot"}
    run = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=30, check=False
    )
    server.stop(0).wait()
    assert run.returncode == 0, run.stderr
    assert {"my-bot", "bot"} <= set(names)
