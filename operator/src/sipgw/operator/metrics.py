"""All instruments of the operator."""

import sys

from prometheus_client import REGISTRY, Counter, Gauge, Histogram

from sipgw.runtime.telemetry.metrics import LATENCY_BUCKETS_S, reference_table

LEADING = Gauge("sipgw_operator_leading", "1 on the replica that leads and acts, else 0")
PASS_SECONDS = Histogram(
    "sipgw_operator_pass_seconds", "Time in seconds of one reconcile pass", buckets=LATENCY_BUCKETS_S
)
PASSES = Counter("sipgw_operator_passes_total", "Reconcile passes, by outcome", ["outcome"])
CONFIG_PUTS = Counter(
    "sipgw_operator_config_puts_total",
    "Configs that the operator sent to the registry, by outcome",
    ["outcome"],
)
REFUSED_DOCUMENTS = Gauge(
    "sipgw_operator_refused_documents", "Custom resources that are refused as invalid, by kind", ["kind"]
)
RELAYS = Gauge("sipgw_operator_relays", "Relays as the operator counts them, by state", ["state"])
RELAYS_TOGETHER = Gauge(
    "sipgw_operator_relays_together", "1 while all relays are on one node (or in one zone), else 0", ["in"]
)
ACTS = Counter(
    "sipgw_operator_acts_total",
    "Changes that the operator tried to make, by kind and outcome",
    ["act", "outcome"],
)
CERTIFICATE_EXPIRY = Gauge(
    "sipgw_operator_certificate_expiry_timestamp_seconds",
    "Time at which the gateway's own certificates expire, as a Unix timestamp",
    ["role"],
)

if __name__ == "__main__":
    sys.stdout.write(reference_table(REGISTRY, "sipgw_operator_"))
