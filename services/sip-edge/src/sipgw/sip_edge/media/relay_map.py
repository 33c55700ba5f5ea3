"""The relays as the registry lists them: their nodes and their media ports.

Relays on one node are lost together. No call's audio may be sent to a relay's ports: two calls that name each
other's ports would send each other audio for ever.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Sequence, Set

from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.api.registry.v1 import registry_pb2 as registry
from sipgw.calls import identity_of
from sipgw.control import ControlError
from sipgw.rtp.source_latch import canonical_host
from sipgw.runtime.settings import Identity

ListRelays = Callable[[], Awaitable[Sequence[registry.Relay]]]
_PERIOD_S = 5.0


class RelayMap:
    """The last list of relays. A new relay appears within one period."""

    def __init__(self) -> None:
        self._listed: dict[Identity, registry.RelayRegistration] = {}
        self._ranges: dict[str, list[range]] = {}

    async def follow(self, list_relays: ListRelays) -> None:
        """Ask the registry periodically, for ever; if it does not respond, the last list stays."""
        while True:
            with contextlib.suppress(ControlError):
                self.take(await list_relays())
            await asyncio.sleep(_PERIOD_S)

    def take(self, listed: Sequence[registry.Relay]) -> None:
        """Replace the list. The ports of a relay count whether its lease stands or not."""
        self._listed = {
            identity_of(one.registration.relay): one.registration for one in listed if one.healthy
        }
        self._ranges = {}
        for one in (relay.registration for relay in listed if relay.registration.rtp_last_port):
            ports = range(one.rtp_first_port, one.rtp_last_port + 1)
            hosts = {one.advertised_address, one.control_address.rpartition(":")[0].strip("[]")}
            for host in hosts:
                self._ranges.setdefault(canonical_host(host), []).append(ports)

    def has(self, host: str, port: int) -> bool:
        """Tell whether a relay may receive media at an address and port."""
        return any(port in ports for ports in self._ranges.get(host, ()))

    def beside(self, relays: Iterable[Identity]) -> set[Identity]:
        """Give all relays on the nodes of `relays`; none if every relay is on these nodes."""
        nodes = {self._node(identity) for identity in relays} - {""}
        if not nodes:
            return set()  # called for every placement, and nearly always without any relay
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
