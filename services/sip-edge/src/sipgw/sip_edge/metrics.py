"""All instruments of the edge."""

import sys

from prometheus_client import REGISTRY, Counter, Gauge, Histogram

from sipgw.runtime.telemetry.metrics import LATENCY_BUCKETS_S, reference_table

DATAGRAMS_RECEIVED = Counter("sipgw_edge_datagrams_received_total", "SIP datagrams received")
DATAGRAMS_DROPPED = Counter("sipgw_edge_datagrams_dropped_total", "SIP datagrams not sent or served", ["why"])
MALFORMED = Counter("sipgw_edge_malformed_total", "Messages that could not be parsed")
REQUESTS = Counter("sipgw_edge_requests_total", "Requests taken", ["method"])
RESPONSES = Counter("sipgw_edge_responses_total", "Final answers given", ["method", "status"])
CALLS = Gauge("sipgw_edge_calls", "Calls owned by this edge")
CALLS_STARTED = Counter("sipgw_edge_calls_started_total", "Calls that got a record")
CALLS_ENDED = Counter("sipgw_edge_calls_ended_total", "Calls ended by this edge", ["cause"])
STEPS_FAILED = Counter(
    "sipgw_edge_end_steps_failed_total", "Steps of ending a call that failed and were left out", ["step"]
)
TASKS_CRASHED = Counter(
    "sipgw_edge_tasks_crashed_total", "Tasks that an unexpected error has ended", ["task"]
)
CALLS_RESCUED = Counter(
    "sipgw_edge_calls_rescued_total",
    "Calls that the sweep has seen through after their task had died",
    ["duty"],
)
BANS = Counter("sipgw_edge_bans_total", "Bans of sources that nobody vouches for", ["kind"])
BANNED = Gauge("sipgw_edge_banned_sources", "Sources that are banned")
OVER_CALL_RATE = Counter(
    "sipgw_edge_over_call_rate_total",
    "New calls refused since their trunk began too many a second",
    ["trunk"],
)
AUTHENTICATIONS = Counter("sipgw_edge_authentications_total", "INVITEs of unknown sources", ["outcome"])
CALL_SECONDS = Histogram(
    "sipgw_edge_call_seconds",
    "How long an answered call lasted",
    buckets=(1, 5, 10, 30, 60, 120, 300, 600, 1200, 1800, 3600),
)
ANSWER_SECONDS = Histogram("sipgw_edge_answer_seconds", "From INVITE to 200", buckets=LATENCY_BUCKETS_S)
OVERLOADED = Counter("sipgw_edge_overloaded_total", "New calls refused since earlier ones are not yet set up")
SETUP_WINDOW = Gauge("sipgw_edge_setup_window", "How many calls may be set up at once")
PLACE_SECONDS = Histogram("sipgw_edge_place_seconds", "Placement by the registry", buckets=LATENCY_BUCKETS_S)
ALLOCATE_SECONDS = Histogram("sipgw_edge_allocate_seconds", "Allocate at a relay", buckets=LATENCY_BUCKETS_S)
RELAY_REFUSALS = Counter("sipgw_edge_relay_refusals_total", "Allocate refused or unanswered", ["why"])
DELIVERED = Counter("sipgw_edge_delivered_total", "Messages handed to the owner edge", ["outcome"])
MOVES = Counter("sipgw_edge_moves_total", "Calls that were to change their relay", ["cause", "outcome"])
MOVE_SECONDS = Histogram(
    "sipgw_edge_move_seconds", "From a move's intent to its end", ["cause"], buckets=LATENCY_BUCKETS_S
)
TARGET_REFRESHES = Counter(
    "sipgw_edge_target_refreshes_total", "Calls whose caller was to get this edge's Contact", ["outcome"]
)
TAKEN_OVER = Counter("sipgw_edge_taken_over_total", "Calls claimed from edges that are gone")
CONFIG_VERSION = Gauge("sipgw_edge_config_version", "Version of the config in force; 0 while there is none")
REDIS_AWAY = Gauge("sipgw_edge_redis_away", "1 while Redis does not answer")
JOURNALED = Gauge("sipgw_edge_journal_records", "Records that Redis has not got yet")
RELAYS_CONNECTED = Gauge("sipgw_edge_relays_connected", "Relays with a live control stream")

if __name__ == "__main__":
    sys.stdout.write(reference_table(REGISTRY, "sipgw_edge_"))
