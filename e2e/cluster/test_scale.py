"""Relays are added under load, and taken away while they have calls."""

from collections.abc import Iterator

import pytest
from clusterkit.bots import Bots, Conversation
from clusterkit.callers import Callers, sip_id
from clusterkit.kubectl import eventually
from clusterkit.release import Release
from clusterkit.report import Report
from resources import await_route, gateway, remove_all, route

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(480, func_only=True)]
ROUNDS, MANY, FEW = 4, 14, 3  # more calls than three relays hold; a few of each round go to the bot


@pytest.fixture(autouse=True)
def quick(release: Release) -> Iterator[None]:
    """A SipGateway that scales quickly; a relay holds 20 calls here (see VALUES)."""
    release.kubectl.apply(gateway(2, 6), route("echo", ("builtin:echo", 1)))
    yield
    remove_all(release.kubectl)


@pytest.fixture
def talkers(release: Release, bots: Bots) -> Iterator[Callers]:
    """Callers that speak to the bot "witness" without a pause."""
    release.wait_ready()
    release.kubectl.apply(route("witness", (bots.start("witness"), 1), priority=1, to={"exact": "witness"}))
    with Callers(release.edges(), user="witness", pauses=False) as talkers:
        await_route(release, talkers, "witness")
        yield talkers


def test_relays_come_under_load_and_go_with_calls_in_progress(
    release: Release, callers: Callers, talkers: Callers, bots: Bots, report: Report
) -> None:
    eventually(lambda: len(release.relays()) <= 3, 120, "few relays to begin with")
    before = len(release.relays())
    callers.mark()
    for _ in range(ROUNDS):  # the lowest relay with room takes them, so that each gets some of the few
        callers.dial(MANY, per_second=2, tries=15, seconds=400)
        talkers.dial(FEW, per_second=2, tries=15, seconds=400)
    took_s = eventually(lambda: len(release.relays()) > before, 60, "more relays")
    findings = callers.findings()
    after = len(release.relays())
    refused = callers.refused + talkers.refused
    report.add(
        "scale-out under load",
        findings,
        f"{before} relays to {after} ({took_s:.0f} s after the last call); {refused} tries got 503",
    )
    assert findings.lost == 0, findings.why_lost

    callers.hang_up()
    eventually(lambda: len(release.calls()) == ROUNDS * FEW, 10, "only the few are left")
    talkers.mark()
    busy = release.calls_by_relay()
    assert len(busy) > 3, "a relay that goes has calls"
    eventually(lambda: len(release.relays()) <= 3, 150, "relays go", every_s=2)
    talkers.rest(3)
    findings = talkers.findings()
    report.add(
        "scale-in with calls",
        findings,
        f"{after} relays to {len(release.relays())}, {sum(findings.moved)} moves; {findings.gaps}",
    )
    assert findings.lost == 0, findings.why_lost
    assert max(findings.moved) == 1, "calls of the relays that went; placement fills the lowest, which stay"
    assert findings.worst_gap_ms < 500, busy
    said = bots.conversations("witness")
    known = release.calls_of([sip_id(call) for call in talkers.calls])
    for call, moves in zip(known, findings.moved, strict=True):
        assert said.get(call.call_id) == Conversation(started=1, resumed=moves, ended=0, tokens=1)
