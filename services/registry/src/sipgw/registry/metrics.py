"""All instruments of the registry."""

import sys

from prometheus_client import REGISTRY, Counter, Gauge, Histogram

from sipgw.runtime.telemetry.metrics import LATENCY_BUCKETS_S, reference_table

CALLS = Gauge("sipgw_registry_calls", "Calls in progress in the whole gateway, as this replica sees them")
STREAM_ENTRIES = Counter(
    "sipgw_registry_stream_entries_total", "Changes of calls read from the Redis streams of the partitions"
)
WATCHES = Gauge("sipgw_registry_watches", "Open streams on which clients watch the gateway's calls")
RELAYS = Gauge("sipgw_registry_relays", "Relays by their state for the placement of new calls", ["state"])
RELAY_UNITS = Gauge(
    "sipgw_registry_relay_units",
    "Cost units of all healthy relays: their capacity, and what is used",
    ["kind"],
)
BEATS = Counter("sipgw_registry_beats_total", "Heartbeats received from relays, by outcome", ["outcome"])
PLACEMENTS = Counter(
    "sipgw_registry_placements_total",
    "Placement commands carried out for edges, by action and outcome",
    ["action", "outcome"],
)
PLACE_SECONDS = Histogram(
    "sipgw_registry_place_seconds",
    "Time in seconds to carry out one batch of placement commands",
    buckets=LATENCY_BUCKETS_S,
)
CONFIG_VERSION = Gauge("sipgw_registry_config_version", "Version of the config in force")
CALLS_LOST = Counter("sipgw_registry_calls_lost_total", "Calls ended as lost because no edge claimed them")
CALL_RECORDS = Counter(
    "sipgw_registry_call_records_total", "Ended calls whose call record this replica wrote", ["cause"]
)
ROOT_SPANS_LOST = Counter(
    "sipgw_registry_root_spans_lost_total",
    "Root spans of ended calls that the trace collector did not accept",
)
OUTBOX_WAITING = Gauge(
    "sipgw_registry_outbox_waiting", "Ended calls whose call record no replica has written yet"
)
OUTBOX_TAKEN_OVER = Counter(
    "sipgw_registry_outbox_taken_over_total",
    "Ended calls whose record this replica wrote in place of a replica that died",
)
REDIS_ROUND_TRIP = Gauge(
    "sipgw_registry_redis_round_trip_seconds",
    "Round-trip time in seconds of the last probe of Redis, sent twice a second",
)
RELAY_PORTS_FREE = Gauge(
    "sipgw_registry_relay_ports_free", "Free RTP port pairs on all relays that take new calls"
)
REDIS_AWAY = Gauge("sipgw_registry_redis_away", "1 while Redis does not respond, else 0")

if __name__ == "__main__":
    sys.stdout.write(reference_table(REGISTRY, "sipgw_registry_"))
