"""Shared parts of the services' metrics.py: buckets, and a trace as the exemplar of an observation.

The instruments are prometheus_client's, in each service's own metrics.py; AdminServer serves them.
"""

import time
from collections.abc import Generator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Histogram

from sipgw.runtime.telemetry.traces import TraceIds

LATENCY_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""From a Redis round trip to a slow bot."""


def observe(histogram: Histogram, value: float, trace: TraceIds | None = None) -> None:
    """Observe `value`; a sampled trace becomes the bucket's exemplar."""
    histogram.observe(value, _exemplar(trace))


@contextmanager
def timed(histogram: Histogram, trace: TraceIds | None = None) -> Generator[None]:
    """Observe the duration of the block, also when it raises."""
    begun = time.perf_counter()
    try:
        yield
    finally:
        observe(histogram, time.perf_counter() - begun, trace)


def count(counter: Counter, trace: TraceIds | None = None, amount: float = 1) -> None:
    """Add to `counter`; a sampled trace becomes its exemplar."""
    counter.inc(amount, _exemplar(trace))


def reference_table(registry: CollectorRegistry, prefix: str) -> str:
    """Return the instruments with this prefix as a table of docs/reference/metrics.md."""
    families = sorted(registry.collect(), key=lambda family: family.name)
    rows = [
        f"| `{family.name}{'_total' if family.type == 'counter' else ''}` | {family.type} |"
        f" {family.documentation} |"
        for family in families
        if family.name.startswith(prefix)
    ]
    return "\n".join(["| Metric | Type | Meaning |", "|---|---|---|", *rows, ""])


def _exemplar(trace: TraceIds | None) -> dict[str, str] | None:
    return {"trace_id": trace.trace_id} if trace is not None and trace.sampled else None
