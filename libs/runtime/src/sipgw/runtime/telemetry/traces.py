"""One OpenTelemetry trace per call, whichever processes touched it.

The root span's ids are fixed when the call begins and stored in its record, so that any process can hang
children below it and a registry, at the end, exports the root itself. The SDK's tracer can't be told a span's
ids, so finished spans are built here and handed to its batch processor. Without OTEL_EXPORTER_OTLP_ENDPOINT
the SDK is never imported, and every function returns after one comparison.
"""

import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeAlias

if TYPE_CHECKING:
    from sipgw.runtime.telemetry.spans import SpanExport

AttributeValue: TypeAlias = str | bool | int | float
_ENDPOINT_VARIABLES = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")


class _Current:
    """This process's exporter; None when tracing is off."""

    export: "SpanExport | None" = None


@dataclass(frozen=True, slots=True)
class TraceIds:
    """The ids of a span and its trace: `trace_id` 32 and `span_id` 16 lower-case hex digits."""

    trace_id: str
    span_id: str
    sampled: bool


@dataclass(frozen=True, slots=True)
class RootSpan:
    """The span of a call, under the ids fixed by `new_trace`, so that a repeat is harmless.

    Times are Unix nanoseconds.
    """

    ids: TraceIds
    name: str
    start_ns: int
    end_ns: int
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict[str, AttributeValue])
    error: str | None = None


def configure_tracing(service: str, instance: str) -> None:
    """Export spans over OTLP/gRPC if OTEL_EXPORTER_OTLP_ENDPOINT is set; honour its other variables too."""
    if not any(os.environ.get(name) for name in _ENDPOINT_VARIABLES):
        return
    # the SDK costs 100 ms and 15 MB: import it only where it is used
    from sipgw.runtime.telemetry.spans import SpanExport

    shutdown_tracing()
    _Current.export = SpanExport(service, instance)


def shutdown_tracing() -> None:
    """Send the buffered spans and stop, within a few seconds."""
    if _Current.export is not None:
        _Current.export.shutdown()
        _Current.export = None


def is_tracing() -> bool:
    """Return whether this process exports spans; guards work that only computes attributes."""
    return _Current.export is not None


def new_trace() -> TraceIds:
    """Return the ids of a new root span; sampled when this process exports."""
    return TraceIds(os.urandom(16).hex(), _new_span_id(), _Current.export is not None)


def traceparent(ids: TraceIds) -> str:
    """Return the W3C header for `ids`."""
    return f"00-{ids.trace_id}-{ids.span_id}-{'01' if ids.sampled else '00'}"


def parse_traceparent(text: str) -> TraceIds | None:
    """Return the ids of a W3C header; None for an invalid one (W3C Trace Context §3.2.2: ignore it)."""
    match = _TRACEPARENT.fullmatch(text)
    if match is None or (text.startswith("00-") and match.end(3) != len(text)):
        return None
    trace_id, span_id, flags = match.groups()
    if not trace_id.strip("0") or not span_id.strip("0"):
        return None
    return TraceIds(trace_id, span_id, bool(int(flags, 16) & 1))


def record_span(
    name: str,
    parent: TraceIds | None,
    start_ns: int,
    end_ns: int,
    attributes: Mapping[str, AttributeValue] | None = None,
    error: str | None = None,
) -> TraceIds | None:
    """Export a finished child of `parent` and return its ids; when off, return `parent`.

    Times are Unix nanoseconds.
    """
    if _Current.export is None or parent is None or not parent.sampled:
        return parent
    ids = TraceIds(parent.trace_id, _new_span_id(), sampled=True)
    _Current.export.send(ids, parent, name, start_ns, end_ns, attributes or {}, error)
    return ids


def export_root_spans(roots: "Sequence[RootSpan]") -> bool:
    """Export finished root spans now and return whether the collector has them all.

    This bypasses the batches and blocks up to the exporter's time-out (10 s): call it from a thread. True
    when there is nothing to export.
    """
    export = _Current.export
    sampled = [root for root in roots if root.ids.sampled]
    return export is None or not sampled or export.send_now(sampled)


def call_span(name: str, parent: TraceIds | None, **attributes: AttributeValue) -> "CallSpan":
    """Record the block as a child of `parent`; an exception marks it failed."""
    if _Current.export is None or parent is None or not parent.sampled:
        return CallSpan("", parent, {})
    return CallSpan(name, parent, attributes)


class CallSpan:
    """A span in progress. `ids` is the parent of spans within it, also in other processes."""

    __slots__ = ("_attributes", "_name", "_parent", "_start_ns", "ids")

    def __init__(self, name: str, parent: TraceIds | None, attributes: dict[str, AttributeValue]) -> None:
        self._name = name
        self._parent = parent
        self._attributes = attributes
        self._start_ns = 0
        self.ids = TraceIds(parent.trace_id, _new_span_id(), sampled=True) if name and parent else parent

    def set(self, key: str, value: AttributeValue) -> None:
        """Add an attribute that is known only now."""
        if self._name:
            self._attributes[key] = value

    def __enter__(self) -> Self:
        if self._name:
            self._start_ns = time.time_ns()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _tb: TracebackType | None
    ) -> None:
        if not self._name or _Current.export is None or self.ids is None:
            return
        failure = f"{type(error).__name__}: {error}" if error is not None else None
        _Current.export.send(
            self.ids, self._parent, self._name, self._start_ns, time.time_ns(), self._attributes, failure
        )


def _new_span_id() -> str:
    return os.urandom(8).hex()
