"""Edge, relay, registry and bot export one trace and one record for each call, also when an edge dies."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path

import grpc
import pytest
from gatewaykit.gateway import Gateway, eventually
from gatewaykit.phone import Phone
from gatewaykit.rtp import longest_echo, noise
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1.trace_pb2 import Span

pytestmark = pytest.mark.system
SLACK_NS = 250_000_000  # the root span begins by Redis time: wrong by half of a stall in reading it
SERVICES = {"edge", "relay", "bot", "registry"}
SPANS = {
    *("transaction", "place", "allocate", "bot connect", "bot attach"),
    *("first packet", "first bot audio", "bye"),
}


_BOT = """
from sipgw.bot import serve
async def echo(call):
    async for frame in call.audio():
        await call.play(frame)
serve(echo, host="127.0.0.1", port={port})
"""


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """An OTLP/gRPC collector that keeps what it is sent."""

    def __init__(self) -> None:
        self.spans: list[tuple[str, Span]] = []

    def Export(self, request, context):
        for resource in request.resource_spans:
            names = {pair.key: pair.value.string_value for pair in resource.resource.attributes}
            for scope in resource.scope_spans:
                self.spans += [(names["service.name"], span) for span in scope.spans]
        return trace_service_pb2.ExportTraceServiceResponse()


@pytest.fixture
def collector() -> Iterator[tuple[Collector, str]]:
    collector = Collector()
    server = grpc.server(futures.ThreadPoolExecutor(2))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collector, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield collector, f"http://127.0.0.1:{port}"
    server.stop(0).wait()


@pytest.fixture
def traced_gateway(tmp_path: Path, collector: tuple[Collector, str]) -> Iterator[Gateway]:
    gateway = Gateway(tmp_path, edges=2, relays=1, calls_per_relay=10, env=exporting_to(collector[1])).start()
    gateway.mark()
    yield gateway
    gateway.stop()


@pytest.fixture
def traced_bot(traced_gateway: Gateway, collector: tuple[Collector, str]) -> Iterator[None]:
    """An SDK bot that listens behind the route `talk`."""
    code = _BOT.format(port=traced_gateway.routes["talk"].port)
    environment = os.environ | exporting_to(collector[1])
    with subprocess.Popen(
        [sys.executable, "-c", code], env=environment, stderr=subprocess.PIPE, text=True
    ) as process:
        assert any("bot listens on" in line for line in process.stderr), "the bot ended"
        yield
        process.terminate()


def exporting_to(endpoint: str) -> dict[str, str]:
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_BSP_SCHEDULE_DELAY": "200"}


async def test_a_call_whose_edge_died_in_the_midst_of_its_end_has_its_root_span_and_one_record(
    traced_gateway: Gateway, collector: tuple[Collector, str], phone: Phone
) -> None:
    begin = traced_gateway.registry.log_size()
    call = await phone.call("echo", traced_gateway.sip(0))
    phone.is_deaf_to.add("BYE")
    (live,) = await traced_gateway.calls()
    client = traced_gateway.client()
    hanging_up = asyncio.create_task(client.hangup_call(live.call_id))

    async def bye_came() -> bool:
        return any(not message.status and message.method == "BYE" for message in call.seen)

    await eventually(bye_came, 10)
    traced_gateway.edges[0].kill()  # the end is saved, the caller has not responded
    phone.is_deaf_to.clear()
    hanging_up.cancel()
    await asyncio.gather(hanging_up, return_exceptions=True)
    await client.aclose()

    def records() -> list[dict[str, object]]:
        lines = traced_gateway.registry.lines(begin)
        return [line for line in lines if line["event"] == "call_record" and line["call_id"] == live.call_id]

    def roots() -> set[str]:
        spans = [span for _, span in collector[0].spans if not span.parent_span_id]
        return {span.span_id.hex() for span in spans if span.trace_id.hex() == live.trace_id}

    async def exported() -> bool:
        return bool(records() and roots())

    await eventually(exported, 60)
    (record,) = records()
    assert (record["cause"], record["route"], record["from"], record["to"]) == (
        "operator",
        "echo",
        "alice",
        "echo",
    )
    assert record["trace_id"] == live.trace_id
    assert record["edge"] == "edge-1", "the other edge carried the end out"
    assert len(roots()) == 1


async def test_edge_relay_and_bot_write_one_trace_with_one_root(
    traced_gateway: Gateway, traced_bot: None, collector: tuple[Collector, str], phone: Phone
) -> None:
    audio = noise(0.5, seed=50)
    call = await phone.call("talk", traced_gateway.sip(0))
    await call.rtp.stream(audio, call.media)

    async def is_echoed() -> bool:
        return longest_echo(audio, call.rtp.audio()) > 0

    await eventually(is_echoed, 10)
    (live,) = await traced_gateway.calls()
    call.destination = traced_gateway.sip(1)
    await call.bye()
    collected = collector[0].spans

    def roots() -> list[Span]:
        """Return the root spans of this call; refused calls, which tested readiness, have root spans too."""
        return [span for _, span in collected if not span.parent_span_id and was_hung_up(span)]

    def spans_of_trace() -> list[tuple[str, Span]]:
        ids = {root.trace_id for root in roots()}
        return [(service, span) for service, span in collected if span.trace_id in ids]

    async def is_complete() -> bool:
        spans = spans_of_trace()
        names = {span.name for _, span in spans}
        return {service for service, _ in spans} >= SERVICES and names >= SPANS

    try:
        await eventually(is_complete, 10)
    except AssertionError:
        seen = sorted({(service, span.name) for service, span in collected})
        raise AssertionError(f"not all came of {SERVICES} and {SPANS}; what came: {seen}") from None
    traced_gateway.stop()  # its processes export what they still have
    assert len({(span.trace_id, span.span_id) for span in roots()}) == 1, "one root, however often it is sent"
    root, spans = roots()[0], spans_of_trace()
    known = {span.span_id for _, span in spans}
    assert [span.name for _, span in spans if span.parent_span_id and span.parent_span_id not in known] == []
    assert all(root.start_time_unix_nano <= span.start_time_unix_nano + SLACK_NS for _, span in spans)
    logged = [line for line in traced_gateway.relays[0].lines() if line.get("call_id") == live.call_id]
    assert {"session_allocated", "bot_ready", "session_ended"} <= {line["event"] for line in logged}
    assert {line["trace_id"] for line in logged} == {root.trace_id.hex()}


def was_hung_up(span: Span) -> bool:
    return any(
        pair.key == "sipgw.end_cause" and pair.value.string_value == "caller_hangup"
        for pair in span.attributes
    )
