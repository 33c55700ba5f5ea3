"""End a move that does not reach its target: the call stays on its relay, or ends."""

from enum import Enum, auto

from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.api.relay.v1 import control_pb2 as relay
from sipgw.calls import identity_of
from sipgw.control import ControlError, RelayRefused
from sipgw.sip_edge.call.ending import End
from sipgw.sip_edge.call.live_calls import LiveCall
from sipgw.sip_edge.call.served_calls import ServedCalls
from sipgw.sip_edge.media.media_plane import MediaPlane
from sipgw.sip_edge.move.outcomes import note_done
from sipgw.sip_edge.process import Process
from sipgw.sip_edge.record import moving
from sipgw.sip_edge.record.moving import cause_name


class LeftSession(Enum):
    """The state of the session on the relay that a call is leaving, as far as known."""

    THERE = auto()
    """The relay is heard again and has the session."""
    GONE = auto()
    """The relay is heard and does not know the session."""
    UNKNOWN = auto()


class MoveEnds:
    """`fail` chooses between `withdraw` and `give_up`."""

    def __init__(self, process: Process, served: ServedCalls, media: MediaPlane) -> None:
        self._now_ms = process.now_ms
        self._records = served.records
        self._ending = served.ending
        self._relays = media.relays
        self._media = media.commands
        self._placements = media.placements
        self._left_sessions = media.left_sessions

    async def ask_left_relay(self, record: calls.CallSession) -> LeftSession:
        """Ask the relay that the call is leaving for the session."""
        if self._relays.is_silent(identity_of(record.media.relay)):
            return LeftSession.UNKNOWN
        try:
            await self._media.adopt(record)
        except RelayRefused as refused:
            is_gone = refused.status == relay.COMMAND_STATUS_NOT_FOUND
            return LeftSession.GONE if is_gone else LeftSession.UNKNOWN
        except ControlError:
            return LeftSession.UNKNOWN
        return LeftSession.THERE

    async def fail(self, live: LiveCall, record: calls.CallSession, why: str, outcome: str) -> None:
        """Give up a move.

        A relay that drains, or has come back, keeps the call; without any relay the call ends.
        """
        is_drained = record.move.cause == calls.MOVE_CAUSE_DRAIN
        if is_drained or await self.ask_left_relay(record) is LeftSession.THERE:
            await self.withdraw(live, why, outcome)
        else:
            await self.give_up(live, why)

    async def withdraw(self, live: LiveCall, why: str, outcome: str) -> None:
        """Give up a move: the call stays on its relay, and the target is released."""
        is_refused = outcome in {"refused", "impossible"}
        replaced = await self._records.replace(
            live.call_id, lambda draft: moving.withdraw(draft, is_refused=is_refused), as_owner=True
        )
        before, saved = replaced.before, replaced.after
        target = before.move.target
        if target.relay.incarnation:
            self._left_sessions.release(saved, target)
            self._placements.release_soon(live.call_id, target.relay.incarnation)
        note_done(live, before, outcome, self._now_ms())
        live.log.info("move_withdrawn", cause=cause_name(before), reason=why, relay=saved.media.relay.name)

    async def give_up(self, live: LiveCall, why: str) -> None:
        """End the call: its relay is lost, and `why` says why no other relay can take the call."""
        record = self._records.copy_of(live.call_id)
        if record is None:
            return
        name = record.media.relay.name
        end = End(calls.END_CAUSE_RELAY_LOST, f"media relay {name} is lost, and {why}")
        if await self._ending.end(live.call_id, end, as_owner=True):
            note_done(live, record, "ended", self._now_ms())
