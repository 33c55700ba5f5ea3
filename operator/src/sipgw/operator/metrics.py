"""All instruments of the operator."""

import sys

from prometheus_client import REGISTRY, Counter, Gauge, Histogram

from sipgw.runtime.telemetry.metrics import LATENCY_BUCKETS_S, reference_table

LEADING = Gauge("sipgw_operator_leading", "1 for the replica that acts")
PASS_SECONDS = Histogram(
    "sipgw_operator_pass_seconds", "One pass of the reconcile", buckets=LATENCY_BUCKETS_S
)
PASSES = Counter("sipgw_operator_passes_total", "Passes of the reconcile", ["outcome"])
CONFIG_PUTS = Counter("sipgw_operator_config_puts_total", "Configs put into the registry", ["outcome"])
REFUSED_DOCUMENTS = Gauge("sipgw_operator_refused_documents", "Custom resources that are refused", ["kind"])
RELAYS = Gauge("sipgw_operator_relays", "Relays by their state for the operator", ["state"])
RELAYS_TOGETHER = Gauge(
    "sipgw_operator_relays_together", "1 while all relays are on one node, or in one zone", ["in"]
)
ACTS = Counter("sipgw_operator_acts_total", "Acts of the operator", ["act", "outcome"])
CERTIFICATE_EXPIRY = Gauge(
    "sipgw_operator_certificate_expiry_timestamp_seconds",
    "Expiry of the gateway's own certificates",
    ["role"],
)

if __name__ == "__main__":
    sys.stdout.write(reference_table(REGISTRY, "sipgw_operator_"))
