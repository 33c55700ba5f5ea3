"""The histograms that the relay moves at the turns and the end of each call."""

from prometheus_client import Histogram

from sipgw.runtime.telemetry.metrics import LATENCY_BUCKETS_S

MOS = Histogram(
    "sipgw_relay_call_mos",
    "Voice quality of a call: mean opinion score by the E-model, 1 to 4.5, taken at its end",
    ["direction"],
    buckets=(1.0, 2.0, 2.5, 3.0, 3.5, 3.8, 4.0, 4.2, 4.3, 4.4, 4.5),
)
LOSS = Histogram(
    "sipgw_relay_call_loss_ratio",
    "Share of a call's RTP packets that were lost, 0 to 1, taken at the call's end",
    ["direction"],
    buckets=(0.0, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0),
)
JITTER = Histogram(
    "sipgw_relay_call_jitter_seconds",
    "Interarrival jitter of a call's RTP packets in seconds (RFC 3550), taken at the call's end",
    ["direction"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2),
)
ROUND_TRIP = Histogram(
    "sipgw_relay_call_round_trip_seconds",
    "Round-trip time to the caller in seconds by RTCP, taken at the call's end",
    buckets=LATENCY_BUCKETS_S,
)
FIRST_AUDIO = Histogram(
    "sipgw_relay_first_audio_seconds",
    "Time in seconds from a call's answer to the bot's first audio",
    buckets=LATENCY_BUCKETS_S,
)
BOT_RESPONSE = Histogram(
    "sipgw_relay_bot_response_seconds",
    "Time in seconds from the end of the caller's speech to the start of the bot's, once a turn",
    buckets=(0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0),
)
