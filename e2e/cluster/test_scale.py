"""Relays come under load, and go with calls in progress."""

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from clusterkit.callers import Callers
from clusterkit.kubectl import eventually
from clusterkit.release import Release
from clusterkit.report import Report
from resources import gateway, remove_all

if TYPE_CHECKING:
    from sipgw.siptest import PhoneCall

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(480)]
CALLS = 66  # more than three relays hold
FEW = 3


@pytest.fixture(autouse=True)
def quick(release: Release) -> Iterator[None]:
    """A relay holds 20 calls here (see VALUES)."""
    release.kubectl.apply(gateway(2, 6))
    yield
    remove_all(release.kubectl)


def test_relays_come_under_load_and_go_with_calls_in_progress(
    release: Release, callers: Callers, report: Report
) -> None:
    eventually(lambda: len(release.relays()) <= 3, 120, "few relays to begin with")
    before = len(release.relays())
    callers.mark()
    callers.dial(CALLS, per_second=2, tries=5, seconds=400)
    took_s = eventually(lambda: len(release.relays()) > before, 60, "more relays")
    findings = callers.findings()
    after = len(release.relays())
    report.add(
        "scale-out under load",
        findings,
        f"{before} relays to {after} ({took_s:.0f} s after the last call); {callers.refused} tries got 503",
    )
    assert findings.lost == 0, findings.why_lost

    callers.mark()
    _keep_a_few_on_each_relay(release, callers)
    busy = release.calls_by_relay()
    assert len(busy) > 3, "a relay that goes has calls"
    eventually(lambda: len(release.relays()) <= 3, 150, "relays go")
    callers.rest(3)
    findings = callers.findings()
    report.add(
        "scale-in with calls",
        findings,
        f"{after} relays to {len(release.relays())}, {sum(findings.moved)} moves",
    )
    assert findings.lost == 0, findings.why_lost
    assert max(findings.moved) == 1, "calls of the relays that went; placement fills the lowest, which stay"
    assert findings.worst_gap_ms < 500, busy


def _keep_a_few_on_each_relay(release: Release, callers: Callers) -> None:
    """The other calls hang up."""
    relay_of = {call.sip_call_id: call.relay.name for call in release.calls()}
    kept: Counter[str] = Counter()
    leaving: list[PhoneCall] = []
    for call in callers.calls:
        relay = relay_of[call.session.live.call_id]
        kept[relay] += 1
        if kept[relay] > FEW:
            leaving.append(call)
    callers.hang_up(leaving)
