"""Relays come under load, and go with calls in progress."""

from collections.abc import Iterator

import pytest
from clusterkit.callers import Callers
from clusterkit.kubectl import eventually
from clusterkit.release import Release
from clusterkit.report import Report
from resources import gateway, remove_all

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]


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
    callers.dial(50, per_second=2, tries=5)
    took_s = eventually(lambda: len(release.relays()) > before, 60, "more relays")
    findings = callers.findings()
    after = len(release.relays())
    report.add(
        "scale-out under load",
        findings,
        f"{before} relays to {after} ({took_s:.0f} s after the last call); {callers.refused} tries got 503",
    )
    assert findings.lost == 0, findings.why_lost

    callers.hang_up(callers.calls[::2])
    callers.hang_up(callers.calls[::2])
    callers.mark()
    highest = max(release.calls_by_relay())
    eventually(lambda: len(release.relays()) <= 3, 150, "relays go")
    callers.rest(3)
    findings = callers.findings()
    report.add(
        "scale-in with calls",
        findings,
        f"{after} relays to {len(release.relays())}, {sum(findings.moved)} moves",
    )
    assert findings.lost == 0, findings.why_lost
    assert max(findings.moved) <= 2
    assert findings.worst_gap_ms < 500, highest
