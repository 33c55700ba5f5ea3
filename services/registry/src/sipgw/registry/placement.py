"""Placement: the relay for a call, chosen in Redis by one script, so that any registry may be asked.

A reservation holds room from Reserve until the relay reports the call, or until it expires. A relay's report
always wins: the registry never counts calls up and down.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sipgw.api.registry.v1.registry_pb2 import Relay, RelayRegistration
from sipgw.registry import placement_scripts as scripts
from sipgw.store import Store, relays_key

_LANES: Final = 256
_RETRY_AFTER_S: Final = {
    "no relay": 5,
    "no room": 2,
    "all full": 2,
    "all late": 5,
    "all full or late": 2,
    "all draining": 5,
}


@dataclass(frozen=True, slots=True)
class Placed:
    """A relay holds room for the call."""

    registration: RelayRegistration


@dataclass(frozen=True, slots=True)
class NotPlaced:
    """No relay accepts the call now.

    `reason`: "no relay", "no room" (units or ports), "all full" (CPU), "all late" (audio), "all full or late"
    or "all draining".
    """

    reason: str
    retry_after_s: int


@dataclass(frozen=True, slots=True)
class Beat:
    """A relay's periodic report of its state."""

    call_ids: Sequence[str]
    used_units: int
    is_draining: bool
    ports_free: int
    is_full: bool = False
    is_late: bool = False


class Placements:
    """The relays and their room in Redis. Methods raise StoreUnavailable."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._keys = [relays_key("")]

    async def register(self, registration: RelayRegistration) -> None:
        """Make a relay known; it gets calls from its first heartbeat on.

        Its name's earlier incarnation gets no more.
        """
        rank = registration.ordinal * _LANES + registration.lane
        await self._store.run(
            scripts.REGISTER,
            self._keys,
            [
                _key(registration),
                registration.relay.name,
                registration.SerializeToString(),
                registration.capacity_units,
                registration.revision,
                rank,
            ],
        )

    async def beat(self, registration: RelayRegistration, beat: Beat) -> bool | None:
        """Renew a relay's lease for 3 s and store its report.

        Return whether it shall drain; None when it must register.
        """
        reported = " ".join(beat.call_ids)
        args = [_key(registration), beat.used_units, int(beat.is_draining), beat.ports_free, reported]
        args += [len(beat.call_ids), int(beat.is_full), int(beat.is_late)]
        answer: bytes | None = await self._store.run(scripts.BEAT, self._keys, args)
        return None if answer is None else answer == b"1"

    async def reserve(self, call_id: str, cost_units: int, avoid: Iterable[str] = ()) -> Placed | NotPlaced:
        """Hold room for a call on the first relay in order that has it; the same call gets the same relay.

        `avoid`: incarnations that the call shall not go to; room held there for it is freed.
        """
        answer: list[bytes] = await self._store.run(
            scripts.RESERVE, self._keys, [call_id, max(cost_units, 1), *avoid]
        )
        if answer[0] == b"placed":
            return Placed(RelayRegistration.FromString(answer[1]))
        reason = answer[0].decode()
        return NotPlaced(reason, _RETRY_AFTER_S[reason])

    async def confirm(self, call_id: str, relay_incarnation: str, cost_units: int = 1) -> bool:
        """Hold the room, as the relay has the session, until the relay reports it.

        Return False when that relay is gone.
        """
        args = [call_id, relay_incarnation, max(cost_units, 1)]
        return await self._store.run(scripts.CONFIRM, self._keys, args) == 1

    async def release(self, call_id: str, relay_incarnation: str = "") -> None:
        """Free the room held for the call, if any."""
        await self._store.run(scripts.RELEASE, self._keys, [call_id, relay_incarnation])

    async def drain(self, name: str, *, is_draining: bool) -> bool:
        """Stop or resume new calls for the live relay `name`. Return False when there is none."""
        return await self._store.run(scripts.DRAIN, self._keys, [name, int(is_draining)]) == 1

    async def relays(self) -> list[Relay]:
        """Return every relay that lives or lived in the last minutes, in (ordinal, lane) order."""
        rows: list[Any] = await self._store.run(scripts.LIST, self._keys)
        relays = [_relay(*row) for row in rows]
        return sorted(
            relays, key=lambda relay: (relay.registration.ordinal, relay.registration.lane, not relay.healthy)
        )


def lost_relays(relays: Iterable[Relay]) -> list[Relay]:
    """Return relays that went silent, without those that drained before or live again under their name."""
    listed = list(relays)
    living = {one.registration.relay.name for one in listed if one.healthy}
    return [
        one
        for one in listed
        if not one.healthy and not one.draining and one.registration.relay.name not in living
    ]


def units_taken(relay: Relay) -> int:
    """Return the units that the relay can use: all its units, or those in use while it is full or late."""
    return relay.used_units if relay.full or relay.late else relay.registration.capacity_units


def _key(registration: RelayRegistration) -> str:
    return f"{registration.relay.name}/{registration.relay.incarnation}"


def _relay(
    registration: bytes,
    healthy: int,
    draining: int,
    used_units: int,
    calls: int,
    ports_free: int,
    held_units: int,
    held_calls: int,
    drain_requested: int,
    full: int,
    late: int,
) -> Relay:
    return Relay(
        registration=RelayRegistration.FromString(registration),
        healthy=bool(healthy),
        draining=bool(draining),
        used_units=used_units + held_units,
        calls=calls + held_calls,
        ports_free=max(ports_free - held_calls, 0),
        drain_requested=bool(drain_requested),
        full=bool(full),
        late=bool(late),
    )
