"""Two replicas and one Lease, through the API."""

from typing import Any

from sipgw.operator.leadership import Leadership
from sipgw.operator.lease import LEASE_S, PERIOD_S

from .conftest import FakeKube, ManualClock

LEASE = "/apis/coordination.k8s.io/v1/namespaces/ns/leases/gw-operator"


def replica(kube: FakeKube, clock: ManualClock, identity: str, **more: Any) -> Leadership:
    return Leadership(kube, namespace="ns", name="gw-operator", identity=identity, clock=clock, **more)  # type: ignore[arg-type]


async def test_the_first_leads_the_second_waits_and_takes_over_from_a_silent_one(
    kube: FakeKube, clock: ManualClock
) -> None:
    changes: list[str] = []
    first = replica(kube, clock, "a", on_change=lambda: changes.append("a"))
    second = replica(kube, clock, "b", on_change=lambda: changes.append("b"))
    await first.beat()
    await second.beat()
    assert (first.is_held, second.is_held) == (True, False)
    clock.move(LEASE_S)
    assert not first.is_held  # it gives up by its own clock
    await second.beat()
    assert second.is_held
    assert kube.objects[LEASE]["spec"]["leaseTransitions"] == 1
    await first.beat()
    assert changes == ["a", "b", "a"]


async def test_giving_up_lets_the_other_lead_at_once(kube: FakeKube, clock: ManualClock) -> None:
    first, second = replica(kube, clock, "a"), replica(kube, clock, "b")
    await first.beat()
    await second.beat()
    await first.give_up()
    assert not first.is_held
    await second.beat()
    assert second.is_held


async def test_an_apiserver_that_is_away_ends_the_lead_in_time_and_brings_it_back(
    kube: FakeKube, clock: ManualClock
) -> None:
    leader = replica(kube, clock, "a")
    await leader.beat()
    kube.away = True
    for _ in range(3):
        clock.move(PERIOD_S)
        await leader.beat()
    assert not leader.is_held
    assert not leader.seen_within(5)
    kube.away = False
    await leader.beat()
    assert leader.is_held


async def test_the_lease_goes_with_its_owner(kube: FakeKube, clock: ManualClock) -> None:
    owner = {"apiVersion": "v1", "kind": "ServiceAccount", "name": "gw-operator", "uid": "u"}
    await replica(kube, clock, "a", owners=lambda: [owner]).beat()
    assert kube.objects[LEASE]["metadata"]["ownerReferences"] == [owner]
