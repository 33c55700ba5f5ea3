"""Allocation: give a call its row, ports and bot, or another bot where the first was never ready."""

from collections.abc import Callable
from typing import Protocol

from sipgw.api.relay.v1 import control_pb2 as pb
from sipgw.media_relay.bots.interface import BotListener
from sipgw.media_relay.calls.parts import CallParts
from sipgw.media_relay.calls.session import CallSpec, Fence, Seat, Session
from sipgw.media_relay.control.results import refused
from sipgw.media_relay.control.specs import read_bot, read_call
from sipgw.media_relay.pipeline.stage import row_of
from sipgw.media_relay.ports.port_pool import PortPair
from sipgw.runtime.telemetry.logs import get_logger

_log = get_logger("sipgw.media_relay.sessions")


class HeadRoom(Protocol):
    """Whether the relay can take another call."""

    def refusal(self) -> str:
        """Return why no call can be taken now; empty when one can."""
        ...


class Allocation:
    """Begins sessions. Single-threaded, on the loop; nothing here waits. `listener` hears all calls' bots.

    `before_call` is called before each session: the clock may be at rest.
    """

    def __init__(
        self,
        parts: CallParts,
        head_room: HeadRoom,
        listener: BotListener,
        advertise: str,
        *,
        before_call: Callable[[], None],
    ) -> None:
        self._parts = parts
        self._head_room = head_room
        self._listener = listener
        self._advertised = advertise
        self._before_call = before_call

    def advertise(self, address: str) -> None:
        """Tell the callers of sessions allocated from now on to send to this address."""
        self._advertised = address

    def allocate(self, command: pb.Command, fence: Fence, edge: str) -> pb.CommandResult:
        """Begin a session. Raises SpecError for a spec that can't be served."""
        spec = read_call(command.call_id, command.allocate)
        if refusal := self._head_room.refusal():
            return refused(pb.COMMAND_STATUS_NO_ROOM, refusal)
        self._before_call()
        sessions, plane = self._parts.sessions, self._parts.plane
        pair = plane.pool.acquire(plane.now_s) if sessions.handles.has_free else None
        if pair is None:
            return refused(
                pb.COMMAND_STATUS_NO_PORTS,
                "no RTP port is free: wait for calls to end, add relays, or widen --rtp-ports",
            )
        handle = sessions.handles.take()
        seat = Seat(row_of(handle), handle, pair.rtp_port)
        session = Session(command.call_id, seat, fence, edge, spec, sessions.now_s)
        sessions.add(session)
        self._open_media(session, spec, pair)
        _log.info(
            "session_allocated", **session.log_ids, rtp_port=pair.rtp_port, bot=command.allocate.bot.endpoint
        )
        return self.result(session)

    def result(self, session: Session) -> pb.CommandResult:
        """Return the response to an Allocate of this session."""
        allocated = pb.Allocated(
            address=self._advertised, rtp_port=session.rtp_port, rtcp_port=session.rtp_port + 1
        )
        return pb.CommandResult(status=pb.COMMAND_STATUS_OK, allocated=allocated)

    def attach_bot(self, session: Session) -> None:
        """Open the call's bot."""
        self._parts.bots.attach(session, self._listener)

    def change_bot(self, session: Session, allocate: pb.Allocate) -> None:
        """Replace the call's bot, which was not ready, by the one that its edge chose; keep the ports.

        The call gets another handle, so that late actions of the first bot are not taken for this one's.
        """
        bot = read_bot(session.call_id, allocate, session.media.wire.codec)
        self._parts.bots.close(session, "another bot has the call")
        session.change_bot(bot, self._parts.sessions.handles.renew(session.row))
        self._parts.plane.modify(session.row, session.media, uplink_frame_ms=session.uplink_frame_ms)
        self.attach_bot(session)
        _log.info("bot_changed", **session.log_ids, bot=allocate.bot.endpoint)

    def _open_media(self, session: Session, spec: CallSpec, pair: PortPair) -> None:
        row, plane = session.row, self._parts.plane
        plane.open(row, pair, spec.media, is_live=spec.is_live, uplink_frame_ms=session.uplink_frame_ms)
        self._parts.turns.open(row)
        if spec.elapsed_ms is not None:
            plane.go_on(row, spec.elapsed_ms)
        self.attach_bot(session)
        if (
            spec.recording is not None
        ):  # the writer thread makes the file: a hung disk would stop the tick here
            self._parts.recorder.open(row, spec.recording, spec.media.wire)
        if session.is_early:
            plane.start(row)
