"""Relays for tests that register and send heartbeats, and checks of where calls are placed."""

from collections.abc import Sequence

from sipgw.api.registry.v1.registry_pb2 import RelayRegistration
from sipgw.registry.placement import Beat, Placed, Placements
from sipgw.store import Store


def relay(
    ordinal: int, lane: int = 0, *, capacity: int = 100, revision: str = "r1", incarnation: str = ""
) -> RelayRegistration:
    """Return a relay's registration."""
    name = f"relay-{lane}-{ordinal}"
    registration = RelayRegistration(
        control_address=f"10.0.0.{ordinal}:{lane}",
        ordinal=ordinal,
        lane=lane,
        revision=revision,
        capacity_units=capacity,
    )
    registration.relay.name, registration.relay.incarnation = name, incarnation or f"i{lane}-{ordinal}"
    return registration


def beat(
    calls: Sequence[str] = (),
    *,
    used: int | None = None,
    draining: bool = False,
    ports: int = 1000,
    full: bool = False,
    late: bool = False,
) -> Beat:
    """Return a heartbeat with these calls."""
    return Beat(calls, len(calls) if used is None else used, draining, ports, full, late)


async def join(placements: Placements, *registrations: RelayRegistration) -> None:
    """Register each relay and send its first heartbeat."""
    for registration in registrations:
        await placements.register(registration)
        assert await placements.beat(registration, beat()) is False


async def placed_on(placements: Placements, call_id: str, units: int = 1, avoid: Sequence[str] = ()) -> str:
    """Reserve room for a call; return its relay, or the reason for none."""
    outcome = await placements.reserve(call_id, units, avoid)
    return outcome.registration.relay.name if isinstance(outcome, Placed) else outcome.reason


async def free_units(placements: Placements, name: str) -> int:
    """Return the room left on a relay."""
    for known in await placements.relays():
        if known.registration.relay.name == name:
            return known.registration.capacity_units - known.used_units
    raise AssertionError(f"{name} is not known")


async def lapse(store: Store, registration: RelayRegistration) -> None:
    """Let the leases expire, as three seconds without a heartbeat would."""
    key = f"{registration.relay.name}/{registration.relay.incarnation}"
    await store.command("HSET", f"sipgw:{{relays}}:relay:{key}", "lease", 1)
