"""Spans reach a real OTLP/gRPC collector; tracing that is off costs next to nothing."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent import futures

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from sipgw.runtime.telemetry import traces
from sipgw.runtime.telemetry.traces import RootSpan, TraceIds


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Keeps what it is sent."""

    def __init__(self) -> None:
        self.requests: list[trace_service_pb2.ExportTraceServiceRequest] = []

    def Export(self, request, context):
        self.requests.append(request)
        return trace_service_pb2.ExportTraceServiceResponse()

    def spans(self) -> dict[str, Span]:
        """Return the spans by name, after all recorded spans have been sent."""
        traces.shutdown_tracing()
        return {
            span.name: span
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        }


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    collector = Collector()
    server = grpc.server(futures.ThreadPoolExecutor(1))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collector, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
    traces.configure_tracing("edge", "edge-0")
    yield collector
    traces.shutdown_tracing()
    server.stop(0).wait()


def attributes(span: Span) -> dict[str, object]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in span.attributes}


def test_the_root_span_has_the_ids_fixed_before_and_a_child_hangs_below_it(collector: Collector) -> None:
    root = traces.new_trace()
    child = traces.record_span("place", root, 100, 250, {"relay": "relay-0", "attempts": 2})
    assert child is not None
    grandchild = traces.record_span("allocate", child, 120, 200)
    assert traces.export_root_spans([RootSpan(root, "call", 50, 900, {"route": "echo"})])
    spans = collector.spans()
    assert spans["call"].trace_id.hex() == root.trace_id
    assert spans["call"].span_id.hex() == root.span_id
    assert not spans["call"].parent_span_id
    assert (spans["call"].start_time_unix_nano, spans["call"].end_time_unix_nano) == (50, 900)
    assert spans["place"].trace_id.hex() == root.trace_id
    assert spans["place"].parent_span_id.hex() == root.span_id
    assert spans["place"].span_id.hex() == child.span_id
    assert attributes(spans["place"]) == {"relay": "relay-0", "attempts": 2}
    assert spans["allocate"].parent_span_id.hex() == child.span_id
    assert grandchild is not None
    assert grandchild.trace_id == root.trace_id


def test_the_collector_is_told_which_process_it_was(collector: Collector) -> None:
    traces.record_span("call", traces.new_trace(), 1, 2)
    collector.spans()
    resource = collector.requests[0].resource_spans[0].resource
    named = {pair.key: pair.value.string_value for pair in resource.attributes}
    assert (named["service.name"], named["service.instance.id"]) == ("edge", "edge-0")


def test_a_span_around_a_block_is_the_parent_of_what_is_inside(collector: Collector) -> None:
    root = traces.new_trace()
    before = time.time_ns()
    with traces.call_span("transaction", root, method="INVITE") as span:
        traces.record_span("place", span.ids, 1, 2)
        span.set("status", 200)
    spans = collector.spans()
    assert spans["place"].parent_span_id == spans["transaction"].span_id
    assert attributes(spans["transaction"]) == {"method": "INVITE", "status": 200}
    assert before <= spans["transaction"].start_time_unix_nano <= spans["transaction"].end_time_unix_nano


def test_an_exception_marks_the_span_failed_and_goes_on(collector: Collector) -> None:
    with pytest.raises(KeyError), traces.call_span("place", traces.new_trace()):
        raise KeyError("relay-9")
    span = collector.spans()["place"]
    assert span.status.code == Status.STATUS_CODE_ERROR
    assert "relay-9" in span.status.message


def test_an_error_told_marks_the_span_failed(collector: Collector) -> None:
    traces.record_span("bot_connect", traces.new_trace(), 1, 2, error="UNAVAILABLE")
    assert collector.spans()["bot_connect"].status.message == "UNAVAILABLE"


def test_another_processs_span_continues_the_trace_from_its_traceparent(collector: Collector) -> None:
    root = traces.new_trace()
    there = traces.parse_traceparent(traces.traceparent(root))
    assert there == root
    traces.record_span("first_packet", there, 1, 2)
    assert collector.spans()["first_packet"].parent_span_id.hex() == root.span_id


def test_an_unsampled_trace_is_not_exported(collector: Collector) -> None:
    quiet = TraceIds("ab" * 16, "cd" * 8, sampled=False)
    traces.record_span("place", quiet, 1, 2)
    assert traces.export_root_spans([RootSpan(quiet, "call", 1, 2)])
    with traces.call_span("bye", quiet) as span:
        assert span.ids == quiet
    assert collector.spans() == {}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        f"00-{'0' * 32}-{'cd' * 8}-01",
        f"00-{'ab' * 16}-{'0' * 16}-01",
        f"ff-{'ab' * 16}-{'cd' * 8}-01",
        f"00-{'AB' * 16}-{'cd' * 8}-01",
        f"00-{'ab' * 16}-{'cd' * 8}",
        f"00-{'ab' * 16}-{'cd' * 8}-01-extra",
    ],
)
def test_a_bad_traceparent_is_none(text: str) -> None:
    assert traces.parse_traceparent(text) is None


def test_a_later_versions_traceparent_is_read_as_far_as_known() -> None:
    ids = traces.parse_traceparent(f"01-{'ab' * 16}-{'cd' * 8}-03-more")
    assert ids == TraceIds("ab" * 16, "cd" * 8, sampled=True)


def test_without_an_endpoint_spans_are_parents_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    traces.configure_tracing("edge", "edge-0")
    root = traces.new_trace()
    assert not traces.is_tracing()
    assert not root.sampled
    assert traces.record_span("place", root, 1, 2) == root
    assert traces.record_span("place", None, 1, 2) is None
    with traces.call_span("bye", root) as span:
        span.set("status", 200)
        assert span.ids == root


def test_without_an_endpoint_the_sdk_is_not_even_imported() -> None:
    code = (
        "import sys; from sipgw.runtime.telemetry import traces; import sipgw.runtime.lifecycle\n"
        "traces.configure_tracing('edge', 'edge-0')\n"
        "traces.export_root_spans([traces.RootSpan(traces.new_trace(), 'call', 1, 2)])\n"
        "print(sorted(name for name in sys.modules if name.startswith('opentelemetry')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env={})
    assert done.stdout.strip() == "[]"


def test_a_collector_that_is_not_there_holds_up_the_end_for_two_seconds_and_leaves_no_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    traces.configure_tracing("edge", "edge-0")
    traces.record_span("place", traces.new_trace(), 1, 2)
    start = time.monotonic()
    traces.shutdown_tracing()
    assert time.monotonic() - start < 3
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("Otel")]


def test_a_root_span_that_no_collector_took_is_told_and_sent_again_has_the_same_ids(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = RootSpan(traces.new_trace(), "call", 1, 2, error="lost")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    there = traces.os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"]
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    traces.configure_tracing("registry", "r")
    assert not traces.export_root_spans([root])
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", there)
    traces.configure_tracing("registry", "r")
    assert traces.export_root_spans([root])
    assert traces.export_root_spans([root])
    assert len(collector.requests) == 2
    spans = [one.resource_spans[0].scope_spans[0].spans[0] for one in collector.requests]
    assert {span.span_id.hex() for span in spans} == {root.ids.span_id}
    assert spans[0].status.message == "lost"


def test_off_a_span_costs_less_than_two_microseconds() -> None:
    parent = traces.new_trace()

    def cost_us() -> float:
        start = time.thread_time()
        for _ in range(10_000):
            traces.record_span("turn", parent, 1, 2)
        return (time.thread_time() - start) / 10_000 * 1e6

    assert min(cost_us() for _ in range(5)) < 2
