"""A call changes the metrics of each process, as Prometheus reads them from /metrics."""

import asyncio
import urllib.request
from collections import Counter

import pytest
from gatewaykit.gateway import Gateway, eventually
from gatewaykit.phone import Phone
from gatewaykit.rtp import noise
from prometheus_client.parser import text_string_to_metric_families

pytestmark = pytest.mark.system


def read(gateway: Gateway) -> Counter[str]:
    """Sum every sample by its name, over all labels and processes."""
    values: Counter[str] = Counter()
    for service in (*gateway.edges, *gateway.relays, gateway.registry):
        with urllib.request.urlopen(f"http://{service.ready['admin']}/metrics", timeout=5) as answer:
            for family in text_string_to_metric_families(answer.read().decode()):
                for sample in family.samples:
                    values[sample.name] += sample.value
    return values


ONE_CALL = (
    *("sipgw_edge_calls_started_total", "sipgw_edge_answer_seconds_count", "sipgw_edge_calls_ended_total"),
    *("sipgw_relay_first_audio_seconds_count", "sipgw_registry_call_records_total"),
)


async def test_a_call_is_in_the_metrics_of_edge_relay_and_registry(
    own_gateway: Gateway, phone: Phone
) -> None:
    before = await asyncio.to_thread(read, own_gateway)
    call = await phone.call("echo", own_gateway.sip(0))
    await call.rtp.stream(noise(0.5, seed=60), call.media)
    during = await asyncio.to_thread(read, own_gateway)
    for gauge in ("sipgw_edge_calls", "sipgw_relay_calls"):
        assert during[gauge] == 1, gauge
    await call.bye()

    async def has_moved() -> bool:
        after = await asyncio.to_thread(read, own_gateway)
        # Records of refused calls, which tested readiness, may still be on their way.
        return after["sipgw_relay_calls"] == 0 and all(after[name] > before[name] for name in ONE_CALL)

    await eventually(has_moved, 10)
