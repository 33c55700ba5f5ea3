"""All instruments of the registry."""

import sys

from prometheus_client import REGISTRY, Counter, Gauge, Histogram

from sipgw.runtime.telemetry.metrics import LATENCY_BUCKETS_S, reference_table

CALLS = Gauge("sipgw_registry_calls", "Live calls of the gateway, as this replica sees them")
STREAM_ENTRIES = Counter(
    "sipgw_registry_stream_entries_total", "Entries of the partitions' streams that were read"
)
WATCHES = Gauge("sipgw_registry_watches", "Open watches of calls")
RELAYS = Gauge("sipgw_registry_relays", "Relays by their state for placement", ["state"])
RELAY_UNITS = Gauge("sipgw_registry_relay_units", "Cost units of the healthy relays", ["kind"])
BEATS = Counter("sipgw_registry_beats_total", "Heartbeats of relays", ["outcome"])
PLACEMENTS = Counter("sipgw_registry_placements_total", "Placement commands", ["action", "outcome"])
PLACE_SECONDS = Histogram("sipgw_registry_place_seconds", "One batch of placement", buckets=LATENCY_BUCKETS_S)
CONFIG_VERSION = Gauge("sipgw_registry_config_version", "Version of the config in force")
CALLS_LOST = Counter("sipgw_registry_calls_lost_total", "Calls ended as lost because no edge claimed them")
CALL_RECORDS = Counter("sipgw_registry_call_records_total", "Calls whose record was written here", ["cause"])
ROOT_SPANS_LOST = Counter(
    "sipgw_registry_root_spans_lost_total", "Root spans of calls that the collector did not accept"
)
OUTBOX_WAITING = Gauge("sipgw_registry_outbox_waiting", "Ended calls whose record nobody has written yet")
OUTBOX_TAKEN_OVER = Counter(
    "sipgw_registry_outbox_taken_over_total", "Ended calls taken over from a replica that is gone"
)
REDIS_ROUND_TRIP = Gauge(
    "sipgw_registry_redis_round_trip_seconds", "Round trip of the last probe of Redis (two per second)"
)
RELAY_PORTS_FREE = Gauge("sipgw_registry_relay_ports_free", "RTP port pairs free on relays that take calls")
REDIS_AWAY = Gauge("sipgw_registry_redis_away", "1 while Redis does not answer")

if __name__ == "__main__":
    sys.stdout.write(reference_table(REGISTRY, "sipgw_registry_"))
