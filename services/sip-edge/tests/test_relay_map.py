"""The relay map names relays that are lost together, and a relay that shows a fault of the edge's network."""

import asyncio
from collections.abc import Sequence

import pytest

from sipgw.api.calls.v1.session_pb2 import ProcessIdentity
from sipgw.api.registry.v1 import registry_pb2 as registry
from sipgw.calls import identity_of
from sipgw.control import RegistryUnreachable
from sipgw.runtime.settings import Identity
from sipgw.sip_edge.media.relay_map import RelayMap

A, B, C, D = (Identity(f"relay-{name}", name) for name in "abcd")


def relay(who: Identity, node: str, *, healthy: bool = True) -> registry.Relay:
    identity = ProcessIdentity(name=who.name, incarnation=who.incarnation)
    return registry.Relay(registration=registry.RelayRegistration(relay=identity, node=node), healthy=healthy)


def map_of(*listed: registry.Relay) -> RelayMap:
    found = RelayMap()
    found.take(listed)
    return found


@pytest.mark.parametrize(
    ("used", "silent", "expected"),
    [
        ({A}, set(), C),  # the first on another node, before one on the same node
        ({A, B}, set(), C),
        ({A, B}, {C}, D),
        ({A, B}, {C, D}, None),  # a relay on the same node proves nothing more
        ({A}, {C, D}, B),
        ({A, C}, set(), None),  # the silent relays are on two nodes already
        (set(), set(), None),
    ],
)
async def test_the_witness_is_on_another_node(
    used: set[Identity], silent: set[Identity], expected: Identity | None
) -> None:
    relays = map_of(relay(A, "n1"), relay(B, "n1"), relay(C, "n2"), relay(D, "n3"))
    witness = relays.witness(used, silent)
    assert (identity_of(witness.relay) if witness is not None else None) == expected


@pytest.mark.parametrize("node", ["", "n1"])
async def test_on_one_machine_a_single_relay_has_another_for_a_witness(node: str) -> None:
    relays = map_of(relay(A, node), relay(B, node), relay(C, node))
    witness = relays.witness({A}, set())
    assert witness is not None
    assert identity_of(witness.relay) == B
    assert relays.witness({A, B}, set()) is None


async def test_a_relay_whose_lease_lapsed_is_no_witness() -> None:
    relays = map_of(relay(A, "n1"), relay(B, "n2", healthy=False))
    assert relays.witness({A}, set()) is None


async def test_relays_of_a_node_are_lost_together() -> None:
    relays = map_of(relay(A, "n1"), relay(B, "n1"), relay(C, "n2"))
    assert relays.beside([A]) == {A, B}
    assert relays.beside([]) == set()


@pytest.mark.parametrize("node", ["", "n1"])
async def test_where_all_are_on_one_machine_none_is_beside_another(node: str) -> None:
    relays = map_of(relay(A, node), relay(B, node))
    assert relays.beside([A]) == set()


async def test_without_a_registry_the_last_list_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[Sequence[registry.Relay]] = [[relay(A, "n1"), relay(B, "n1"), relay(C, "n2")]]

    asked_in_vain = asyncio.Event()

    async def list_relays() -> Sequence[registry.Relay]:
        if not answers:
            asked_in_vain.set()
            raise RegistryUnreachable("registry: gone")
        return answers.pop()

    monkeypatch.setattr("sipgw.sip_edge.media.relay_map._PERIOD_S", 0.0)
    relays = RelayMap()
    following = asyncio.ensure_future(relays.follow(list_relays))
    await asked_in_vain.wait()
    following.cancel()
    assert relays.beside([A]) == {A, B}
