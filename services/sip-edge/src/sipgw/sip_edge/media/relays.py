"""Control streams to the relays that this edge has calls on, and the judgement which relays are silent.

A relay whose process runs returns five pings a second. Calls leave a relay that has been silent for too long
(`SilenceJudge`), whose host refuses connections, or whose address another incarnation has; an unneeded move
costs the caller a re-INVITE (ADR 0006). A relay is lost, so that its calls may end when no other has room,
only when its lease has lapsed as well (`has_lapsed`).
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.api.relay.v1 import control_pb2 as relay
from sipgw.calls import identity_of
from sipgw.control import ControlError, RelayLink
from sipgw.runtime.settings import Identity
from sipgw.runtime.telemetry.logs import get_logger
from sipgw.sip_edge import metrics
from sipgw.sip_edge.media.relay_map import ListRelays, RelayMap
from sipgw.sip_edge.media.silence import SUSPECT_AFTER_S, SilenceJudge
from sipgw.sip_edge.settings import EdgeSettings

_log = get_logger("sipgw.sip_edge.relays")
OnEvent = Callable[[Identity, relay.MediaEvent], Awaitable[None] | None]
_JUDGE_PERIOD_S = 0.05
_KEPT_S = 5.0
_FIRST_ATTACH_S = 2.0
"""How long a stream may take to connect for the first time."""


@dataclass(frozen=True, slots=True)
class RelayCallbacks:
    """Callbacks about relays. `on_silent` and `on_gone` are called once until the relay is heard again."""

    on_event: OnEvent
    """A relay sent a media event."""
    on_attached: Callable[[Identity], None]
    """The stream to a relay is connected (again)."""
    on_silent: Callable[[Identity], None]
    """A relay has been silent for too long."""
    on_gone: Callable[[Identity], None]
    """A relay no longer exists."""


class Relays:
    """Streams to relays, one each, opened on demand."""

    def __init__(
        self, settings: EdgeSettings, list_relays: ListRelays, relay_map: RelayMap, callbacks: RelayCallbacks
    ) -> None:
        self._me = settings.identity
        self._tls = settings.tls
        self._list_relays = list_relays
        self._poll_s = settings.times.relay_poll_s
        self._judge: SilenceJudge[Identity] = SilenceJudge(settings.times.relay_silent_s, _JUDGE_PERIOD_S)
        self._callbacks = callbacks
        self._links: dict[Identity, RelayLink] = {}
        self._asked_at: dict[Identity, float] = {}
        self._silent: set[Identity] = set()
        self._lapsed: set[Identity] = set()
        self._gone: set[Identity] = set()
        self._judged: set[Identity] = set()
        self._map = relay_map

    def link(self, anchor: calls.MediaAnchor) -> RelayLink:
        """Give the stream to a relay, opening it if there is none."""
        identity = identity_of(anchor.relay)
        link = self._links.get(identity)
        if link is None:
            link = self._links[identity] = RelayLink(
                anchor.control_address,
                self._me,
                lambda event: self._callbacks.on_event(identity, event),
                expected=identity,
                on_attached=lambda found: self._attached(identity, found),
                on_refused=lambda: self._note_gone(identity, "refuses connections"),
                tls=self._tls,
            )
            link.open()
        self._asked_at[identity] = asyncio.get_running_loop().time()
        return link

    async def is_responsive(self, anchor: calls.MediaAnchor) -> bool:
        """Tell whether a relay responds, waiting briefly for it. One that does not is silent from now on.

        This is for calls whose edge is silent too, so that a shorter silence is proof enough.
        """
        identity = identity_of(anchor.relay)
        link = self.link(anchor)
        if identity in self._silent:
            return False
        try:
            async with asyncio.timeout(SUSPECT_AFTER_S):
                await link.wait_connected()
        except TimeoutError:
            self._note_silent(identity, "is silent, as is the edge of its calls")
            return False
        if link.silent_s < SUSPECT_AFTER_S:
            return True
        self._note_silent(identity, f"was silent for {link.silent_s:.1f} s, as was the edge of its calls")
        return False

    def is_silent(self, identity: Identity) -> bool:
        """Tell whether a relay is silent now."""
        return identity in self._silent

    @property
    def silent_incarnations(self) -> set[str]:
        """The relays that get no calls."""
        return {identity.incarnation for identity in self._silent}

    @property
    def doubtful_incarnations(self) -> set[str]:
        """The relays that get a call only when no other has room.

        They have just fallen silent, or are on the nodes of silent relays.
        """
        suspects = self._silent | self._judge.suspects
        return {identity.incarnation for identity in suspects | self._map.beside(suspects)}

    def has_lapsed(self, identity: Identity) -> bool:
        """Tell whether a relay is silent and its lease has lapsed, or another incarnation has its address."""
        return identity in self._silent and identity in self._lapsed

    async def watch(self, in_use: Callable[[], set[Identity]]) -> None:
        """Judge relays, and close streams to relays without calls, for ever."""
        await asyncio.gather(self._judge_forever(), self._poll(in_use))

    async def _judge_forever(self) -> None:
        while True:
            await asyncio.sleep(_JUDGE_PERIOD_S)
            self._judge_silence(self._judged)

    async def _poll(self, in_use: Callable[[], set[Identity]]) -> None:
        while True:
            used = in_use()  # looks at every call
            self._judged = used | self._witness_for(used)
            metrics.RELAYS_CONNECTED.set(sum(link.is_connected for link in self._links.values()))
            await self._close_unused(self._judged)
            if doubted := {identity for identity in used if self._is_doubted(identity)}:
                await self._ask_for_leases(doubted)
            await asyncio.sleep(self._poll_s)

    def _witness_for(self, used: set[Identity]) -> set[Identity]:
        """Give another relay to listen to, whose silence tells whether this edge's network is at fault."""
        witness = self._map.witness(used, self._silent)
        if witness is None:
            return set()
        self.link(witness)
        return {identity_of(witness.relay)}

    async def aclose(self) -> None:
        """Close all streams."""
        await asyncio.gather(*(link.aclose() for link in self._links.values()))
        self._links.clear()

    def _judge_silence(self, used: set[Identity]) -> None:
        links = {identity: link for identity in used if (link := self._links.get(identity)) is not None}
        heard_at = {identity: link.heard_at for identity, link in links.items() if link.answers_pings}
        silent = self._judge.observe(heard_at, asyncio.get_running_loop().time())
        for identity, link in links.items():
            if identity in silent or (identity not in heard_at and self._says_nothing(identity, link)):
                silence_s = self._judge.silence_s(identity) or link.silent_s
                self._note_silent(identity, f"was silent for {silence_s:.1f} s")
            elif identity in self._silent and link.is_connected and not self._judge.silence_s(identity):
                self._attached(identity, identity)  # its stream has not broken yet

    def _says_nothing(self, identity: Identity, link: RelayLink) -> bool:
        """Judge a relay that returns no pings: its stream never connected, or it is of an older release."""
        if link.relay is None:
            return link.silent_s > _FIRST_ATTACH_S
        return not link.is_connected and identity in self._lapsed

    def _is_doubted(self, identity: Identity) -> bool:
        link = self._links.get(identity)
        return identity in self._silent or (
            link is not None and not (link.is_connected or link.answers_pings)
        )

    async def _ask_for_leases(self, doubted: set[Identity]) -> None:
        try:
            healthy = {
                identity_of(one.registration.relay) for one in await self._list_relays() if one.healthy
            }
        except ControlError:
            return  # without the registry, no lease is known to have lapsed
        for identity in doubted - healthy - self._lapsed:
            if self._is_doubted(identity):
                self._lapsed.add(identity)
                if identity in self._silent:
                    self._note_gone(identity, "its lease has lapsed")

    def _attached(self, identity: Identity, found: Identity) -> None:
        if found != identity:
            self._lapsed.add(identity)
            asyncio.get_running_loop().call_soon(self._note_gone, identity, f"{found} now has its address")
            return
        if identity in self._silent:
            _log.info("relay_heard_again", relay=str(identity))
        self._forget_doubts(identity)
        self._callbacks.on_attached(identity)

    def _forget_doubts(self, identity: Identity) -> None:
        self._silent.discard(identity)
        self._lapsed.discard(identity)
        self._gone.discard(identity)

    def _note_silent(self, identity: Identity, why: str) -> None:
        if identity in self._links and identity not in self._silent:
            self._silent.add(identity)
            _log.warning("relay_silent", relay=str(identity), reason=why)
            self._callbacks.on_silent(identity)

    def _note_gone(self, identity: Identity, why: str) -> None:
        if identity in self._links and identity not in self._gone:
            self._silent.add(identity)
            self._gone.add(identity)
            _log.warning("relay_lost", relay=str(identity), reason=why)
            self._callbacks.on_gone(identity)

    async def _close_unused(self, used: set[Identity]) -> None:
        """Close streams that are not used. One just asked for stays: a command on it is under way."""
        idle_since = asyncio.get_running_loop().time() - _KEPT_S
        idle = [
            identity
            for identity in self._links
            if identity not in used and self._asked_at[identity] < idle_since
        ]
        for identity in idle:
            if not self._links[identity].is_connected or self._links[identity].relay != identity:
                self._forget_doubts(identity)
                del self._asked_at[identity]
                await self._links.pop(identity).aclose()
