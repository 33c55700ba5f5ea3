"""Commands: carry out edges' commands on the relay's calls.

Commands are idempotent and fenced: one below the (owner epoch, generation) that a call has seen is STALE.
"""

import time
from typing import Final

from sipgw.api import voicebot_pb2
from sipgw.api.relay.v1 import control_pb2 as pb
from sipgw.media_relay.calls.ending import Ending
from sipgw.media_relay.calls.media_reports import MediaReports
from sipgw.media_relay.calls.parts import CallParts
from sipgw.media_relay.calls.session import Fence, Session
from sipgw.media_relay.control.allocation import Allocation
from sipgw.media_relay.control.media_changes import MediaChanges
from sipgw.media_relay.control.results import done, refused
from sipgw.media_relay.control.specs import read_media
from sipgw.media_relay.errors import SpecError

_KEYS: Final = frozenset("0123456789*#ABCD")


class Commands:
    """Carries out commands. Single-threaded, on the loop; nothing here waits."""

    def __init__(
        self, parts: CallParts, allocation: Allocation, ending: Ending, reports: MediaReports
    ) -> None:
        self._parts = parts
        self._reports = reports
        self._allocation = allocation
        self._ending = ending
        self._changes = MediaChanges(parts)

    def execute(self, command: pb.Command, edge: str) -> pb.CommandResult:
        """Carry out one command of the edge; every outcome is a result."""
        try:
            result = self._dispatch(command, edge)
        except SpecError as error:
            result = refused(pb.COMMAND_STATUS_INVALID, str(error))
        result.command_id, result.call_id = command.command_id, command.call_id
        return result

    def replay_events(self, edge: str) -> None:
        """Send an edge that has connected the unacknowledged events of the calls it owns."""
        self._parts.events.replay(self._parts.sessions.call_ids_of(edge), edge)

    def _dispatch(self, command: pb.Command, edge: str) -> pb.CommandResult:
        kind = command.WhichOneof("command")
        if kind == "list":
            return pb.CommandResult(
                status=pb.COMMAND_STATUS_OK, sessions=map(self._state, self._parts.sessions)
            )
        fence = (command.owner_epoch, command.generation)
        seen = self._parts.sessions.seen_fence(command.call_id)
        if fence < seen:
            return refused(
                pb.COMMAND_STATUS_STALE,
                f"owner epoch {fence[0]}, generation {fence[1]} is stale: {seen[0]}, {seen[1]} was seen",
            )
        if kind == "allocate":
            return self._allocate(command, fence, edge)
        session = self._parts.sessions.find(command.call_id)
        if session is None:
            if kind == "release":  # its Allocate may still arrive by an older stream
                self._parts.sessions.note_released(command.call_id, fence)
                return done()
            return refused(pb.COMMAND_STATUS_NOT_FOUND, "the relay has no such call: allocate it again")
        self._confirm(session, fence, edge, is_adopted=kind == "adopt")
        self._carry_out(session, command)
        return done()

    def _carry_out(self, session: Session, command: pb.Command) -> None:
        match command.WhichOneof("command"):
            case "modify":
                self._changes.modify(session, read_media(command.modify.media))
            case "start":
                self._start(session)
            case "release":
                self._ending.end(session, command.release.reason, moved=command.release.moved)
            case "inform":
                self._inform(session, command.inform)
            case "acknowledge":
                self._parts.plane.acknowledge(session.row)
            case "press_key":
                self._press_key(session, command.press_key)
            case _:
                self._adopt(session, command.adopt)

    def _allocate(self, command: pb.Command, fence: Fence, edge: str) -> pb.CommandResult:
        session = self._parts.sessions.find(command.call_id)
        if session is not None:
            return self._allocate_again(session, command.allocate, fence, edge)
        if self._parts.sessions.was_released_at(command.call_id, fence):
            return refused(pb.COMMAND_STATUS_STALE, "the call was released at this generation")
        return self._allocation.allocate(command, fence, edge)

    def _allocate_again(
        self, session: Session, spec: pb.Allocate, fence: Fence, edge: str
    ) -> pb.CommandResult:
        if fence > session.fence:
            media = read_media(spec.media)
            if media != session.media:
                self._changes.modify(session, media)
            if spec.bot.endpoint != session.bot_endpoint:
                self._allocation.change_bot(session, spec)
        session.raise_fence(fence)
        self._change_owner(session, edge, replay=False)
        return self._allocation.result(session)

    def _start(self, session: Session) -> None:
        if session.is_started:
            return
        session.answer(self._parts.sessions.now_s, time.time_ns())
        if session.stop_waiting():
            self._allocation.attach_bot(session)
        self._parts.plane.answer(session.row)
        self._changes.log_if_never(session)
        self._parts.bots.tell(session, voicebot_pb2.CallEvent(answered=voicebot_pb2.Answered()))

    def _adopt(self, session: Session, adopt: pb.Adopt) -> None:
        """Apply the facts that the previous edge could not send. `_confirm` made this edge the owner."""
        if adopt.acknowledged:
            self._parts.plane.acknowledge(session.row)

    def _press_key(self, session: Session, press: pb.PressKey) -> None:
        if press.digit not in _KEYS:
            raise SpecError(f"press_key.digit: {press.digit!r}, must be one of {' '.join(sorted(_KEYS))}")
        self._reports.key_signalled(session, press.digit, press.duration_ms)

    def _inform(self, session: Session, inform: pb.Inform) -> None:
        session.go_on()
        outcome = voicebot_pb2.TransferOutcome(
            accepted=inform.transfer_accepted,
            sip_status=inform.transfer_status,
            reason=inform.transfer_reason,
        )
        self._parts.bots.tell(session, voicebot_pb2.CallEvent(transfer_outcome=outcome))

    def _confirm(self, session: Session, fence: Fence, edge: str, *, is_adopted: bool) -> None:
        """Confirm the call, as any command does.

        The events go to another edge only after Adopt or with a higher owner epoch.
        """
        is_owner = is_adopted or fence[0] > session.fence[0] or edge == session.edge
        session.raise_fence(fence)
        if session.confirm():
            self._parts.plane.unmute(session.row)
        if is_owner:
            self._change_owner(session, edge, replay=is_adopted)

    def _change_owner(self, session: Session, edge: str, *, replay: bool) -> None:
        changed = session.edge != edge
        session.give_to(edge, self._parts.sessions.now_s)
        if changed or replay:
            self._parts.events.replay([session.call_id], edge)

    def _state(self, session: Session) -> pb.SessionState:
        plane = self._parts.plane
        return pb.SessionState(
            call_id=session.call_id,
            generation=session.fence[1],
            owner_epoch=session.fence[0],
            started=session.is_started,
            packets_received=plane.receiver.totals(session.row).received,
            packets_sent=int(plane.transmitter.sent[session.row]),
        )
