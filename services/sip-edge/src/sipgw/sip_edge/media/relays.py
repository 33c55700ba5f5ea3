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

    def __init__(self, settings: EdgeSettings, list_relays: ListRelays, callbacks: RelayCallbacks) -> None:
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
        self._map = RelayMap(list_relays)

    def link(self, anchor: calls.MediaAnchor) -> RelayLink:
        """Give the stream to a relay, opening it if there is none."""
        who = identity_of(anchor.relay)
        link = self._links.get(who)
        if link is None:
            link = self._links[who] = RelayLink(
                anchor.control_address,
                self._me,
                lambda event: self._callbacks.on_event(who, event),
                expected=who,
                on_attached=lambda found: self._attached(who, found),
                on_refused=lambda: self._note_gone(who, "refuses connections"),
                tls=self._tls,
            )
            link.open()
        self._asked_at[who] = asyncio.get_running_loop().time()
        return link

    async def is_responsive(self, anchor: calls.MediaAnchor) -> bool:
        """Tell whether a relay responds, waiting briefly for it. One that does not is silent from now on.

        This is for calls whose edge is silent too, so that a shorter silence is proof enough.
        """
        who = identity_of(anchor.relay)
        link = self.link(anchor)
        if who in self._silent:
            return False
        try:
            async with asyncio.timeout(SUSPECT_AFTER_S):
                await link.wait_connected()
        except TimeoutError:
            self._note_silent(who, "is silent, as is the edge of its calls")
            return False
        if link.silent_s < SUSPECT_AFTER_S:
            return True
        self._note_silent(who, f"was silent for {link.silent_s:.1f} s, as was the edge of its calls")
        return False

    def is_silent(self, who: Identity) -> bool:
        """Tell whether a relay is silent now."""
        return who in self._silent

    @property
    def silent_incarnations(self) -> set[str]:
        """The relays that get no calls."""
        return {who.incarnation for who in self._silent}

    @property
    def doubtful_incarnations(self) -> set[str]:
        """The relays that get a call only when no other has room: those that have just fallen silent, and
        those on the nodes of silent relays.
        """
        suspects = self._silent | self._judge.suspects
        return {who.incarnation for who in suspects | self._map.beside(suspects)}

    def has_lapsed(self, who: Identity) -> bool:
        """Tell whether a relay is silent and its lease has lapsed, or another incarnation has its address."""
        return who in self._silent and who in self._lapsed

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
            if used:
                await self._map.refresh()
            self._judged = used | self._witness_for(used)
            metrics.RELAYS_CONNECTED.set(sum(link.is_connected for link in self._links.values()))
            await self._close_unused(self._judged)
            if doubted := {who for who in used if self._is_doubted(who)}:
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
        links = {who: link for who in used if (link := self._links.get(who)) is not None}
        heard_at = {who: link.heard_at for who, link in links.items() if link.answers_pings}
        silent = self._judge.observe(heard_at, asyncio.get_running_loop().time())
        for who, link in links.items():
            if who in silent or (who not in heard_at and self._says_nothing(who, link)):
                silence_s = self._judge.silence_s(who) or link.silent_s
                self._note_silent(who, f"was silent for {silence_s:.1f} s")
            elif who in self._silent and link.is_connected and not self._judge.silence_s(who):
                self._attached(who, who)  # its stream has not broken yet

    def _says_nothing(self, who: Identity, link: RelayLink) -> bool:
        """Judge a relay that returns no pings: its stream never connected, or it is of an older release."""
        if link.relay is None:
            return link.silent_s > _FIRST_ATTACH_S
        return not link.is_connected and who in self._lapsed

    def _is_doubted(self, who: Identity) -> bool:
        link = self._links.get(who)
        return who in self._silent or (link is not None and not (link.is_connected or link.answers_pings))

    async def _ask_for_leases(self, doubted: set[Identity]) -> None:
        try:
            healthy = {
                identity_of(one.registration.relay) for one in await self._list_relays() if one.healthy
            }
        except ControlError:
            return  # without the registry, no lease is known to have lapsed
        for who in doubted - healthy - self._lapsed:
            if self._is_doubted(who):
                self._lapsed.add(who)
                if who in self._silent:
                    self._note_gone(who, "its lease has lapsed")

    def _attached(self, who: Identity, found: Identity) -> None:
        if found != who:
            self._lapsed.add(who)
            asyncio.get_running_loop().call_soon(self._note_gone, who, f"{found} has its address now")
            return
        if who in self._silent:
            _log.info("relay_heard_again", relay=str(who))
        self._forget_doubts(who)
        self._callbacks.on_attached(who)

    def _forget_doubts(self, who: Identity) -> None:
        self._silent.discard(who)
        self._lapsed.discard(who)
        self._gone.discard(who)

    def _note_silent(self, who: Identity, why: str) -> None:
        if who in self._links and who not in self._silent:
            self._silent.add(who)
            _log.warning("relay_silent", relay=str(who), reason=why)
            self._callbacks.on_silent(who)

    def _note_gone(self, who: Identity, why: str) -> None:
        if who in self._links and who not in self._gone:
            self._silent.add(who)
            self._gone.add(who)
            _log.warning("relay_lost", relay=str(who), reason=why)
            self._callbacks.on_gone(who)

    async def _close_unused(self, used: set[Identity]) -> None:
        """Close streams that are not used. One just asked for stays: a command on it is under way."""
        idle_since = asyncio.get_running_loop().time() - _KEPT_S
        idle = [who for who in self._links if who not in used and self._asked_at[who] < idle_since]
        for who in idle:
            if not self._links[who].is_connected or self._links[who].relay != who:
                self._forget_doubts(who)
                del self._asked_at[who]
                await self._links.pop(who).aclose()
