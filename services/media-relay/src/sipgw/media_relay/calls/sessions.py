"""Sessions: the relay's calls, and what edges command of them.

Commands are idempotent and fenced: one below the (owner epoch, generation) that a call has seen is STALE. A
row of the columns is used again with another generation, so that what is late for an old call finds nobody.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from sipgw.api import voicebot_pb2
from sipgw.api.config.v1 import config_pb2
from sipgw.api.relay.v1 import control_pb2 as pb
from sipgw.audio import recoding_table
from sipgw.media_relay.calls.quality import observe_quality
from sipgw.media_relay.calls.session import BUILTIN_ECHO, Session
from sipgw.media_relay.calls.specs import read_bot, read_media
from sipgw.media_relay.errors import SpecError
from sipgw.media_relay.pipeline.stage import handle_of, row_of
from sipgw.rtp.media_destination import Reach
from sipgw.runtime.telemetry.logs import get_logger
from sipgw.runtime.telemetry.traces import parse_traceparent

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator

    import numpy.typing as npt

    from sipgw.audio import AudioFormat
    from sipgw.media_relay.bots.interface import BotGateway
    from sipgw.media_relay.calls.event_log import EventLog
    from sipgw.media_relay.plane.media_plane import MediaPlane
    from sipgw.media_relay.stages.echo import EchoStage
    from sipgw.media_relay.stages.recorder import RecorderStage
    from sipgw.media_relay.stages.turns import TurnStage
    from sipgw.media_relay.streams.bot_call import HandlesU32

_REMEMBERED: Final = 10_000  # calls that were released, for the fence
_log = get_logger("sipgw.media_relay.sessions")


class HeadRoom(Protocol):
    """Says why no call can be taken now; empty when one can."""

    def refusal(self) -> str: ...


class Sessions:
    """The session table. Single-threaded, on the loop; nothing here waits."""

    def __init__(
        self,
        *,
        rows: int,
        advertise: str,
        loop: asyncio.AbstractEventLoop,
        events: EventLog,
        head_room: HeadRoom,
    ) -> None:
        self.advertise = advertise
        """Told to callers of sessions allocated from now on."""
        self._loop = loop
        self._events = events
        self._head_room = head_room
        self._by_call: dict[str, Session] = {}
        self._by_row: list[Session | None] = [None] * rows
        self._generation = np.zeros(rows, np.uint32)
        self._free_rows = list(range(rows - 1, -1, -1))  # the lowest is taken first
        self._released: OrderedDict[str, tuple[int, int]] = OrderedDict()
        self.plane: MediaPlane
        self.bots: BotGateway
        self.echo: EchoStage
        self.recorder: RecorderStage
        self.turns: TurnStage
        self.on_change: Callable[[], None] = lambda: None  # the number of calls changed

    def __len__(self) -> int:
        return len(self._by_call)

    @property
    def call_ids(self) -> list[str]:
        return list(self._by_call)

    @property
    def used_units(self) -> int:
        return sum(session.cost for session in self._by_call.values())

    # -- commands

    def execute(self, command: pb.Command, edge: str) -> pb.CommandResult:
        """Carry out one command of the edge; every outcome is a result."""
        try:
            result = self._dispatch(command, edge)
        except SpecError as error:
            result = _refused(pb.COMMAND_STATUS_INVALID, str(error))
        result.command_id, result.call_id = command.command_id, command.call_id
        return result

    def call_ids_of(self, edge: str) -> list[str]:
        return [call_id for call_id, session in self._by_call.items() if session.edge == edge]

    def _dispatch(self, command: pb.Command, edge: str) -> pb.CommandResult:
        kind = command.WhichOneof("command")
        if kind == "list":
            return pb.CommandResult(
                status=pb.COMMAND_STATUS_OK, sessions=map(self._state, self._by_call.values())
            )
        fence = (command.owner_epoch, command.generation)
        session = self._by_call.get(command.call_id)
        seen = session.fence if session is not None else self._released.get(command.call_id, (0, 0))
        if fence < seen:
            return _refused(
                pb.COMMAND_STATUS_STALE,
                f"owner epoch {fence[0]}, generation {fence[1]}: {seen[0]}, {seen[1]} was seen",
            )
        if kind == "allocate":
            return self._allocate(session, command, fence, edge)
        if session is None:
            if kind == "release":
                self._note_released(command.call_id, fence)  # its Allocate may come yet, by an older stream
                return pb.CommandResult(status=pb.COMMAND_STATUS_OK)
            return _refused(pb.COMMAND_STATUS_NOT_FOUND, "the relay has no such call: allocate it again")
        self._confirm(session, fence, edge, is_adopted=kind == "adopt")
        self._carry_out(session, command)
        return pb.CommandResult(status=pb.COMMAND_STATUS_OK)

    def _carry_out(self, session: Session, command: pb.Command) -> None:
        match command.WhichOneof("command"):
            case "modify":
                self._modify(session, command.modify.media)
            case "start":
                self._start(session)
            case "release":
                self.end(session, command.release.reason, moved=command.release.moved)
            case "inform":
                self._inform(session, command.inform)
            case "acknowledge":
                self.plane.acknowledge(session.row)
            case _:
                self._adopt(session, command.adopt)

    def _allocate(
        self, session: Session | None, command: pb.Command, fence: tuple[int, int], edge: str
    ) -> pb.CommandResult:
        spec = command.allocate
        if session is not None:
            return self._allocate_again(session, spec, fence, edge)
        if fence == self._released.get(command.call_id):
            return _refused(pb.COMMAND_STATUS_STALE, "the call was released at this generation")
        call_id = _checked_call_id(command.call_id)
        media = read_media(spec.media)
        is_echo = spec.bot.endpoint == BUILTIN_ECHO
        bot = None if is_echo else read_bot(call_id, spec, media.wire.codec)
        if spec.HasField("recording") and not spec.recording.path:
            raise SpecError("recording.path: empty, a directory is wanted")
        if refusal := self._head_room.refusal():
            return _refused(pb.COMMAND_STATUS_NO_ROOM, refusal)
        pair = self.plane.pool.acquire(self.plane.now_s) if self._free_rows else None
        if pair is None:
            return _refused(
                pb.COMMAND_STATUS_NO_PORTS,
                "no RTP port is free: wait for calls to end, add relays, or widen --rtp-ports",
            )
        row = self._free_rows.pop()
        self._generation[row] = (self._generation[row] + 1) & 0xFFFF
        now_s = self._loop.time()
        session = Session(
            call_id,
            row,
            handle_of(row, int(self._generation[row])),
            fence,
            edge,
            pair.rtp_port,
            media,
            bot,
            spec.early_media,
            now_s,
            attached_s=now_s,
            trace=parse_traceparent(spec.traceparent),
            waits_for_start=spec.continuation.bot_at_start,
            can_resume=is_echo,
        )
        is_live = spec.bot.playout == config_pb2.PLAYOUT_LIVE or (
            is_echo and spec.bot.playout == config_pb2.PLAYOUT_UNSPECIFIED
        )
        self._by_call[call_id] = self._by_row[row] = session
        self.plane.open(row, pair, media, is_live=is_live, uplink_frame_ms=session.uplink_frame_ms)
        self.turns.open(row)
        if spec.HasField("continuation"):
            self.plane.go_on(row, spec.continuation.elapsed_ms)
        self._attach_bot(session)
        if spec.HasField("recording"):
            self._record(session, spec.recording)
        if session.is_early:
            self.plane.start(row)
        _log.info("session_allocated", **session.log_ids, rtp_port=pair.rtp_port, bot=spec.bot.endpoint)
        self.on_change()
        return self._allocated(session)

    def _allocate_again(
        self, session: Session, spec: pb.Allocate, fence: tuple[int, int], edge: str
    ) -> pb.CommandResult:
        if fence > session.fence:
            if read_media(spec.media) != session.media:
                self._modify(session, spec.media)
            if spec.bot.endpoint != session.bot_endpoint:
                self._change_bot(session, spec)
        session.fence = fence
        self._change_owner(session, edge, replay=False)
        return self._allocated(session)

    def _attach_bot(self, session: Session) -> None:
        if session.waits_for_start:
            if session.bot is not None:
                self.bots.warm(session.bot)
        elif session.bot is None:
            self.echo.open(session.row)
            ready = pb.BotReady(confirmed=True, address=BUILTIN_ECHO, protocol="builtin")
            self.tell(session, bot_ready=ready)
        else:
            self.bots.open(session.handle, session.bot)

    def _change_bot(self, session: Session, spec: pb.Allocate) -> None:
        """The call's bot was not ready, and its edge has chosen another: on the same ports, from the start.

        With another handle: what the first one still says is of a call that is over.
        """
        is_echo = spec.bot.endpoint == BUILTIN_ECHO
        bot = None if is_echo else read_bot(session.call_id, spec, session.media.wire.codec)
        self._close_bot(session, "another bot has the call")
        self._generation[session.row] = (self._generation[session.row] + 1) & 0xFFFF
        session.handle = handle_of(session.row, int(self._generation[session.row]))
        session.bot, session.can_resume = bot, is_echo
        self.plane.modify(session.row, session.media, uplink_frame_ms=session.uplink_frame_ms)
        self._attach_bot(session)
        _log.info("bot_changed", **session.log_ids, bot=spec.bot.endpoint)

    def _close_bot(self, session: Session, reason: str, *, moved: bool = False) -> None:
        if session.bot is None:
            self.echo.close(session.row)
        else:
            self.bots.close(session.handle, reason, moved=moved)

    def _record(self, session: Session, spec: pb.RecordingSpec) -> None:
        # The disk is the writer thread's alone: a hung one would stop the tick here.
        part = f".{spec.part}" if spec.part > 1 else ""
        path = Path(spec.path) / f"{session.call_id}{part}.wav"
        self.recorder.open(session.row, path, session.media.wire)

    def _allocated(self, session: Session) -> pb.CommandResult:
        allocated = pb.Allocated(
            address=self.advertise, rtp_port=session.rtp_port, rtcp_port=session.rtp_port + 1
        )
        return pb.CommandResult(status=pb.COMMAND_STATUS_OK, allocated=allocated)

    def _modify(self, session: Session, spec: pb.MediaSpec) -> None:
        media = read_media(spec)
        if media.wire.codec != session.media.wire.codec:
            self._change_codec(session, media.wire)
        was_held = not (session.media.is_sending and session.media.is_receiving)
        is_held = not (media.is_sending and media.is_receiving)
        session.media = media
        self.plane.modify(session.row, media, uplink_frame_ms=session.uplink_frame_ms)
        self._tell_if_never(session)
        if was_held != is_held:
            self.tell_bot(session, voicebot_pb2.CallEvent(hold=voicebot_pb2.Hold(on_hold=is_held)))

    def _change_codec(self, session: Session, wire: AudioFormat) -> None:
        """What the bot said is played, and what was recorded stays; the bot notices nothing."""
        self.recorder.recode(session.row, wire, recoding_table(session.media.wire, wire))
        if session.bot is not None:
            session.bot = replace(session.bot, wire_format=replace(session.bot.wire_format, codec=wire.codec))
            self.bots.change_codec(session.handle, wire.codec)

    def _start(self, session: Session) -> None:
        if session.is_started:
            return
        session.is_started = True
        session.answered_s = self._loop.time()
        session.answered_ns = time.time_ns()
        if session.waits_for_start:
            session.waits_for_start = False
            self._attach_bot(session)
        self.plane.answer(session.row)
        self._tell_if_never(session)
        self.tell_bot(session, voicebot_pb2.CallEvent(answered=voicebot_pb2.Answered()))

    def _adopt(self, session: Session, adopt: pb.Adopt) -> None:
        """`_confirm` gave the call's events to its edge; what the edge before had no time to say is here."""
        if adopt.acknowledged:
            self.plane.acknowledge(session.row)

    def _tell_if_never(self, session: Session) -> None:
        """Say why a caller hears nothing: its address is one that media is never sent to."""
        if session.media.is_sending and self.plane.reach(session.row) is Reach.NEVER:
            remote = session.media.remote
            _log.warning(
                "media_destination_refused",
                **session.log_ids,
                destination=f"{remote.host}:{remote.port}" if remote is not None else "",
                signalling=session.media.peer.destination.signalling_host,
                cure="see docs/explanation/media-addresses.md",
            )

    def _inform(self, session: Session, inform: pb.Inform) -> None:
        session.is_ending = False  # a transfer that came to nothing
        outcome = voicebot_pb2.TransferOutcome(
            accepted=inform.transfer_accepted,
            sip_status=inform.transfer_status,
            reason=inform.transfer_reason,
        )
        self.tell_bot(session, voicebot_pb2.CallEvent(transfer_outcome=outcome))

    def _confirm(self, session: Session, fence: tuple[int, int], edge: str, *, is_adopted: bool) -> None:
        """Any command confirms; the events go to another edge only by Adopt or a higher owner epoch."""
        is_owner = is_adopted or fence[0] > session.fence[0] or edge == session.edge
        session.fence, session.is_confirmed = fence, True
        if session.is_doubted:
            session.is_doubted = False
            self.plane.hush(session.row, False)  # noqa: FBT003 - reads as what it does
        if is_owner:
            self._change_owner(session, edge, replay=is_adopted)

    def _change_owner(self, session: Session, edge: str, *, replay: bool) -> None:
        changed = session.edge != edge
        session.edge = edge
        session.attached_s = self._loop.time()
        if changed or replay:
            self._events.replay([session.call_id], edge)

    def tell_bot(self, session: Session, event: voicebot_pb2.CallEvent) -> None:
        if session.bot is not None:
            self.bots.send_event(session.handle, event)

    def superseded(self, session: Session) -> None:
        """The bot has the call on a later stream: another relay serves it."""
        self.end(session, "another relay has the call", moved=True)

    def doubt_all(self) -> None:
        """This process stood still, and the calls may have left it: no word to anybody until an edge says
        that a call is still here. One that nobody says that of is freed like one never confirmed.
        """
        for session in self._by_call.values():
            session.is_doubted, session.is_confirmed = True, False
            session.created_s = self._loop.time()
            self.plane.hush(session.row, True)  # noqa: FBT003 - reads as what it does

    @property
    def now_s(self) -> float:
        return self._loop.time()

    def __iter__(self) -> Iterator[Session]:
        return iter(list(self._by_call.values()))

    def end(self, session: Session, reason: str, *, moved: bool = False) -> None:
        """Free everything the call has, and say so with its totals."""
        totals = self._totals(session)
        observe_quality(self.plane, session.row, session.trace)
        self._close_bot(session, reason, moved=moved)
        self.recorder.close(session.row)
        self.plane.close(session.row)
        del self._by_call[session.call_id]
        self._by_row[session.row] = None
        self._free_rows.append(session.row)
        self._note_released(session.call_id, session.fence)
        self.tell(session, session_ended=pb.SessionEnded(reason=reason, totals=totals))
        _log.info("session_ended", **session.log_ids, reason=reason)
        self.on_change()

    def _note_released(self, call_id: str, fence: tuple[int, int]) -> None:
        self._released[call_id] = fence
        if len(self._released) > _REMEMBERED:
            self._released.popitem(last=False)

    def _totals(self, session: Session) -> pb.MediaTotals:
        plane, row = self.plane, session.row
        reception = plane.receiver.totals(row)
        return pb.MediaTotals(
            packets_received=reception.received,
            packets_sent=int(plane.transmitter.sent[row]),
            packets_lost=reception.lost,
            packets_strange=plane.strangers_of(row),
            jitter_ms=reception.jitter_ms,
            digits=session.digits,
            recording_path=self.recorder.path(row),
            bot_audio_ms=int(plane.playout.played[row]) // 8,
        )

    def _state(self, session: Session) -> pb.SessionState:
        return pb.SessionState(
            call_id=session.call_id,
            generation=session.fence[1],
            owner_epoch=session.fence[0],
            started=session.is_started,
            packets_received=self.plane.receiver.totals(session.row).received,
            packets_sent=int(self.plane.transmitter.sent[session.row]),
        )

    def end_all(self, reason: str) -> None:
        for session in list(self._by_call.values()):
            self.end(session, reason)

    # -- for the bots' side

    def at_row(self, row: int) -> Session | None:
        """The call that has the row now."""
        return self._by_row[row]

    def audio_consumed(self, rows: npt.NDArray[np.intp], total_bytes: npt.NDArray[np.int64]) -> None:
        """See media_plane.MediaListener."""
        handles = (self._generation[rows] << np.uint32(16)) | rows.astype(np.uint32)
        self.bots.consumed(handles, total_bytes.astype(np.uint64))

    def are_alive(self, handles: HandlesU32) -> npt.NDArray[np.bool_]:
        """Which of the handles are of the calls that have their rows now."""
        return self._generation[handles & np.uint32(0xFFFF)] == handles >> np.uint32(16)

    def session_of(self, handle: int) -> Session | None:
        """The call of this handle; None when its row has been used again since, or is free."""
        row = row_of(handle)
        session = self._by_row[row] if row < len(self._by_row) else None
        return session if session is not None and session.handle == handle else None

    def tell(self, session: Session, **event: object) -> None:
        """Log an event for the call's edge."""
        message = pb.MediaEvent(
            call_id=session.call_id,
            generation=session.fence[1],
            at_ms=_now_ms(),
            **event,  # pyright: ignore[reportArgumentType]
        )
        self._events.append(message, session.edge)


def _refused(status: pb.CommandStatus.ValueType, message: str) -> pb.CommandResult:
    return pb.CommandResult(status=status, message=message)


def _checked_call_id(call_id: str) -> str:
    """It names a file: letters, digits, dash and underscore."""
    if not 1 <= len(call_id) <= 64 or not call_id.replace("-", "").replace("_", "").isalnum():
        raise SpecError("call_id: 1 to 64 letters, digits, dashes and underscores are wanted")
    return call_id


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
