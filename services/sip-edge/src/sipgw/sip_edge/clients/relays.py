"""The relays that this edge has calls on: one control stream each, and the judgement that a relay is lost.

A relay is lost when its lease has lapsed *and* its stream to this edge is down (DESIGN §4), or when another
incarnation answers in its place: the sessions are gone then.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.api.registry.v1 import registry_pb2 as registry
from sipgw.api.relay.v1 import control_pb2 as relay
from sipgw.calls import identity_of
from sipgw.control import ControlError, RelayLink
from sipgw.runtime.settings import Identity
from sipgw.runtime.telemetry.logs import get_logger
from sipgw.runtime.tls import TlsDirectory
from sipgw.sip_edge import metrics

_log = get_logger("sipgw.sip_edge.relays")
OnEvent = Callable[[relay.MediaEvent], Awaitable[None] | None]
ListRelays = Callable[[], Awaitable[Sequence[registry.Relay]]]


class Relays:
    """`on_event` gets their media events; `on_attached` hears that a relay's stream stands (again)."""

    def __init__(
        self, me: Identity, list_relays: ListRelays, *, poll_s: float, tls: TlsDirectory | None = None
    ) -> None:
        self._me = me
        self._tls = tls
        self._list_relays = list_relays
        self._poll_s = poll_s
        self._links: dict[Identity, RelayLink] = {}
        self.on_event: OnEvent = _no_event
        self.on_attached: Callable[[Identity], None] = _nobody
        self.on_lost: Callable[[Identity], None] = _nobody

    def link(self, anchor: calls.MediaAnchor) -> RelayLink:
        """The stream to the relay of a call."""
        who = identity_of(anchor.relay)
        link = self._links.get(who)
        if link is None:
            link = self._links[who] = RelayLink(
                anchor.control_address,
                self._me,
                self._event,
                on_attached=lambda found: self._attached(who, found),
                tls=self._tls,
            )
        return link

    async def watch(self, in_use: Callable[[], set[Identity]]) -> None:
        """Judge relays whose stream is down, for ever; streams to relays without calls are closed."""
        while True:
            await asyncio.sleep(self._poll_s)
            metrics.RELAYS_CONNECTED.set(sum(link.is_connected for link in self._links.values()))
            used = in_use()
            await self._close_unused(used)
            down = [who for who in used if who in self._links and not self._links[who].is_connected]
            if down:
                await self._judge(down)

    async def aclose(self) -> None:
        """Detach from all."""
        await asyncio.gather(*(link.aclose() for link in self._links.values()))
        self._links.clear()

    def _event(self, event: relay.MediaEvent) -> Awaitable[None] | None:
        return self.on_event(event)

    async def _judge(self, down: Sequence[Identity]) -> None:
        try:
            healthy = {
                identity_of(one.registration.relay) for one in await self._list_relays() if one.healthy
            }
        except ControlError:
            return  # nobody can say that a lease lapsed
        for who in down:
            if who not in healthy and not self._links[who].is_connected:
                self._lost(who, "lease lapsed and control stream down")

    def _attached(self, who: Identity, found: Identity) -> None:
        if found != who:
            asyncio.get_running_loop().call_soon(self._lost, who, f"{found} answers in its place")
        else:
            self.on_attached(who)

    def _lost(self, who: Identity, why: str) -> None:
        if who in self._links:
            _log.warning("relay_lost", relay=str(who), reason=why)
            self.on_lost(who)

    async def _close_unused(self, used: set[Identity]) -> None:
        idle = [who for who in self._links if who not in used]
        for who in idle:
            if not self._links[who].is_connected or self._links[who].relay != who:
                await self._links.pop(who).aclose()


def _no_event(_event: relay.MediaEvent) -> None:
    """Until somebody listens."""


def _nobody(_relay: Identity) -> None:
    """Until somebody listens."""
