"""All metrics of the edge."""

import sys

from prometheus_client import REGISTRY, Counter, Gauge, Histogram

from sipgw.runtime.telemetry.metrics import LATENCY_BUCKETS_S, reference_table

DATAGRAMS_RECEIVED = Counter("sipgw_edge_datagrams_received_total", "SIP datagrams received")
DATAGRAMS_DROPPED = Counter(
    "sipgw_edge_datagrams_dropped_total",
    "SIP datagrams dropped, on receipt or instead of being sent",
    ["why"],
)
MALFORMED = Counter("sipgw_edge_malformed_total", "SIP messages received that could not be parsed")
REQUESTS = Counter(
    "sipgw_edge_requests_total", "SIP requests received, retransmissions not counted", ["method"]
)
RESPONSES = Counter("sipgw_edge_responses_total", "Final responses sent", ["method", "status"])
CALLS = Gauge("sipgw_edge_calls", "Calls owned by this edge")
CALLS_STARTED = Counter("sipgw_edge_calls_started_total", "New calls whose record this edge created")
CALLS_ENDED = Counter("sipgw_edge_calls_ended_total", "Calls ended by this edge", ["cause"])
STEPS_FAILED = Counter(
    "sipgw_edge_end_steps_failed_total", "Steps of ending a call that failed and were skipped", ["step"]
)
TASKS_CRASHED = Counter(
    "sipgw_edge_tasks_crashed_total", "Tasks of the process that ended with an unexpected error", ["task"]
)
CALLS_RESCUED = Counter(
    "sipgw_edge_calls_rescued_total",
    "Calls resumed after the task that served them crashed",
    ["duty"],
)
BANS = Counter(
    "sipgw_edge_bans_total",
    "Bans imposed on sources that are neither trusted nor in a trunk's network",
    ["kind"],
)
BANNED = Gauge("sipgw_edge_banned_sources", "Sources that are banned now")
OVER_CALL_RATE = Counter(
    "sipgw_edge_over_call_rate_total",
    "New calls refused because their trunk exceeded its limit of calls per second",
    ["trunk"],
)
AUTHENTICATIONS = Counter(
    "sipgw_edge_authentications_total",
    "INVITEs from sources in no trunk's network, by outcome of digest authentication",
    ["outcome"],
)
CALL_SECONDS = Histogram(
    "sipgw_edge_call_seconds",
    "Duration in seconds of answered calls, counted when they end",
    buckets=(1, 5, 10, 30, 60, 120, 300, 600, 1200, 1800, 3600),
)
ANSWER_SECONDS = Histogram(
    "sipgw_edge_answer_seconds", "Time in seconds from the INVITE to its 200", buckets=LATENCY_BUCKETS_S
)
OVERLOADED = Counter(
    "sipgw_edge_overloaded_total",
    "New calls refused because as many calls were being set up as the edge allows",
)
SETUP_WINDOW = Gauge("sipgw_edge_setup_window", "Calls that may be set up at the same time")
PLACE_SECONDS = Histogram(
    "sipgw_edge_place_seconds",
    "Time in seconds that the registry took to choose a relay for a call",
    buckets=LATENCY_BUCKETS_S,
)
ALLOCATE_SECONDS = Histogram(
    "sipgw_edge_allocate_seconds",
    "Time in seconds from an Allocate command to the relay's response",
    buckets=LATENCY_BUCKETS_S,
)
RELAY_REFUSALS = Counter(
    "sipgw_edge_relay_refusals_total",
    "Allocate commands that a relay refused or did not respond to in time",
    ["why"],
)
DELIVERED = Counter(
    "sipgw_edge_delivered_total",
    "SIP messages handed over to the edge that owns the call, by outcome",
    ["outcome"],
)
MOVES = Counter(
    "sipgw_edge_moves_total", "Moves of calls to another relay, by cause and outcome", ["cause", "outcome"]
)
MOVE_SECONDS = Histogram(
    "sipgw_edge_move_seconds",
    "Time in seconds from the beginning of a call's move to another relay to its end",
    ["cause"],
    buckets=LATENCY_BUCKETS_S,
)
TARGET_REFRESHES = Counter(
    "sipgw_edge_target_refreshes_total",
    "Re-INVITEs sent to give callers this edge's Contact, by outcome",
    ["outcome"],
)
TAKEN_OVER = Counter("sipgw_edge_taken_over_total", "Calls that this edge claimed from edges that died")
CONFIG_VERSION = Gauge(
    "sipgw_edge_config_version", "Version of the config in force; 0 before the first config"
)
REDIS_AWAY = Gauge("sipgw_edge_redis_away", "1 while Redis does not respond, else 0")
JOURNALED = Gauge(
    "sipgw_edge_journal_records", "Changed call records that this edge keeps until Redis responds again"
)
RELAYS_CONNECTED = Gauge("sipgw_edge_relays_connected", "Relays with a connected control stream")

if __name__ == "__main__":
    sys.stdout.write(reference_table(REGISTRY, "sipgw_edge_"))
