"""The nodes of the relays, as the registry lists them. Relays on one node are lost together."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence, Set

from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.api.registry.v1 import registry_pb2 as registry
from sipgw.calls import identity_of
from sipgw.control import ControlError
from sipgw.runtime.settings import Identity

ListRelays = Callable[[], Awaitable[Sequence[registry.Relay]]]
_KEPT_S = 5.0


class RelayMap:
    """The last list of relays and nodes; `refresh` renews it."""

    def __init__(self, list_relays: ListRelays) -> None:
        self._list_relays = list_relays
        self._listed: dict[Identity, registry.RelayRegistration] = {}
        self._until = 0.0

    async def refresh(self) -> None:
        """Ask the registry, at most every five seconds; if it does not respond, the last list stays."""
        now = asyncio.get_running_loop().time()
        if now < self._until:
            return
        self._until = now + _KEPT_S
        try:
            listed = [one.registration for one in await self._list_relays() if one.healthy]
        except ControlError:
            return
        self._listed = {identity_of(one.relay): one for one in listed}

    def beside(self, relays: Iterable[Identity]) -> set[Identity]:
        """Give all relays on the nodes of `relays`; none if every relay is on these nodes."""
        nodes = {self._node(identity) for identity in relays} - {""}
        if not nodes:
            return set()  # asked for every placement, and nearly always of no relay at all
        found = {identity for identity in self._listed if self._node(identity) in nodes}
        return found if found < self._listed.keys() else set()

    def witness(self, used: Set[Identity], silent: Set[Identity]) -> calls.MediaAnchor | None:
        """Give a relay to listen to besides those in use, if all in use are on one node.

        Whether it is silent too tells whether this edge's own network is at fault. A relay on the same node
        tells less, and is chosen only beside a single relay.
        """
        nodes = {self._node(identity) for identity in used}
        if not used or len(nodes) > 1:
            return None
        free = [identity for identity in self._listed if identity not in used and identity not in silent]
        elsewhere = [identity for identity in free if self._node(identity) not in nodes]
        beside = free if len(used) == 1 else []
        for identity in (*elsewhere, *beside):
            found = self._listed[identity]
            return calls.MediaAnchor(relay=found.relay, control_address=found.control_address)
        return None

    def _node(self, identity: Identity) -> str:
        found = self._listed.get(identity)
        return found.node if found is not None else ""
