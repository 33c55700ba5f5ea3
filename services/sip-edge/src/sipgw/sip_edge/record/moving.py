"""Changes of the record by the steps of a move: pure functions of a draft.

They return False if the record forbids the change. PLACING → ALLOCATING → OFFERING → SWITCHING → no move. A
target that refuses the call leads back to PLACING, glare back to ALLOCATING; until SWITCHING a move can be
withdrawn.
"""

from collections.abc import Callable
from typing import Final, TypeAlias

from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.api.registry.v1 import registry_pb2 as registry
from sipgw.api.relay.v1 import control_pb2 as relay
from sipgw.sip_edge.record.reinviting import is_quiet
from sipgw.sip_edge.record.states import ANSWERED, move_cause_name

_BUILTIN: Final = "builtin:"
Describe: TypeAlias = Callable[[calls.CallSession, calls.MediaAnchor, int], bytes]
"""Makes our description of a call at another relay, with that version."""


def is_in(record: calls.CallSession, phase: calls.MovePhase.ValueType) -> bool:
    """Tell whether the call is answered and its move in that phase."""
    return record.state in ANSWERED and record.HasField("move") and record.move.phase == phase


def can_resume(record: calls.CallSession) -> bool:
    """Tell whether the call's bot can go on with the call through another relay; a relay's own echo can."""
    return record.bot.can_resume or record.bot.endpoint.startswith(_BUILTIN)


def hold_off_ms(record: calls.CallSession, now_ms: int, longest_ms: int) -> int:
    """Return for how long the relay's silence does not move the call, because it moved lately; 0: it does."""
    since_ms = max(0, now_ms - record.moved_ms)
    return max(0, longest_ms - since_ms) if record.moved_ms else 0


def cause_name(record: calls.CallSession) -> str:
    """Print the cause of the call's move, `relay_lost` or `drain`."""
    cause = record.move.cause if record.HasField("move") else calls.MOVE_CAUSE_RELAY_LOST
    return move_cause_name(cause)


def begin(
    draft: calls.CallSession,
    cause: calls.MoveCause.ValueType,
    left: str,
    *,
    now_ms: int,
    limit_ms: int,
) -> bool:
    """Note that the call has to leave the relay `left`.

    If that relay drained before and is lost now, the move goes on.
    """
    if draft.state not in ANSWERED or draft.media.relay.incarnation != left:
        return False
    if not draft.HasField("move") or draft.move.phase == calls.MOVE_PHASE_SWITCHING:
        before = draft.move.left.relay.incarnation
        draft.move.CopyFrom(calls.Move(phase=calls.MOVE_PHASE_PLACING, began_ms=now_ms))
        if before:
            draft.move.avoid.append(before)
    elif cause in (draft.move.cause, calls.MOVE_CAUSE_DRAIN):
        return False
    draft.move.cause = cause
    draft.move.deadline_ms = now_ms + limit_ms
    return True


def place(draft: calls.CallSession, placement: registry.Placement) -> bool:
    """Note a relay with room as the target.

    The bot's epoch rises with each relay that may open its stream.
    """
    if not is_in(draft, calls.MOVE_PHASE_PLACING):
        return False
    move = draft.move
    move.phase = calls.MOVE_PHASE_ALLOCATING
    move.target.Clear()
    move.target.relay.CopyFrom(placement.relay)
    move.target.control_address = placement.control_address
    move.target.media_address = placement.advertised_address
    move.epoch = max(move.epoch, draft.bot.epoch) + 1
    return True


def place_elsewhere(draft: calls.CallSession, phase: calls.MovePhase.ValueType, refused: str) -> bool:
    """Note that the target refused the call."""
    if not is_in(draft, phase):
        return False
    draft.move.phase = calls.MOVE_PHASE_PLACING
    draft.move.avoid.append(refused)
    draft.move.target.Clear()
    return True


def offer(
    draft: calls.CallSession,
    allocated: relay.Allocated,
    *,
    branch: str,
    contact: str,
    generation: int,
    describe: Describe,
) -> bool:
    """Note that the target has the session and our re-INVITE is about to be sent.

    Raises what `describe` raises.
    """
    if not is_in(draft, calls.MOVE_PHASE_ALLOCATING) or not is_quiet(draft):
        return False
    leg, move = draft.legs[0], draft.move
    move.target.media_address = allocated.address or move.target.media_address
    move.target.rtp_port, move.target.rtcp_port = allocated.rtp_port, allocated.rtcp_port
    move.target.generation, move.target.confirmed = generation, True
    leg.dialog.local_cseq += 1
    leg.offer_pending = calls.OFFER_PENDING_LOCAL
    move.phase = calls.MOVE_PHASE_OFFERING
    move.cseq, move.branch, move.contact = leg.dialog.local_cseq, branch, contact
    move.offer = describe(draft, move.target, leg.local_sdp_version + 1)
    return True


def offer_again(draft: calls.CallSession, retries: int) -> bool:
    """Note that our offer has to be made later, with the next CSeq.

    It crossed one of the peer, or this edge cannot repeat it.
    """
    if not is_in(draft, calls.MOVE_PHASE_OFFERING):
        return False
    draft.legs[0].offer_pending = calls.OFFER_PENDING_UNSPECIFIED
    draft.move.phase = calls.MOVE_PHASE_ALLOCATING
    draft.move.retries = retries
    return True


def accept(draft: calls.CallSession, cseq: int, answer: bytes, *, contact: str, is_held: bool) -> bool:
    """Note that the caller accepted the re-INVITE with that CSeq: the target has the call now."""
    if not is_in(draft, calls.MOVE_PHASE_OFFERING) or draft.move.cseq != cseq:
        return False
    leg, move = draft.legs[0], draft.move
    move.phase = calls.MOVE_PHASE_SWITCHING
    move.left.CopyFrom(draft.media)
    draft.media.CopyFrom(move.target)
    draft.bot.epoch = move.epoch
    leg.local_sdp, leg.local_sdp_version = move.offer, leg.local_sdp_version + 1
    leg.remote_sdp = answer
    leg.offer_pending = calls.OFFER_PENDING_UNSPECIFIED
    leg.on_hold = is_held
    leg.local_target = move.contact or leg.local_target
    if contact:
        leg.dialog.remote_target = contact
    return True


def settle(draft: calls.CallSession, generation: int, now_ms: int) -> bool:
    """Note that the target carries the call's media, and remove the move."""
    if not is_in(draft, calls.MOVE_PHASE_SWITCHING):
        return False
    draft.ClearField("move")
    draft.refuses_move = False
    draft.moved_ms = now_ms
    draft.media.generation = generation
    return True


def withdraw(draft: calls.CallSession, *, is_refused: bool) -> bool:
    """Remove the move; the call stays where it is. `is_refused`: it is not moved on purpose again."""
    if draft.state not in ANSWERED or not draft.HasField("move"):
        return False
    if draft.move.phase == calls.MOVE_PHASE_SWITCHING:
        return False
    if draft.move.phase == calls.MOVE_PHASE_OFFERING:
        draft.legs[0].offer_pending = calls.OFFER_PENDING_UNSPECIFIED
    draft.refuses_move = is_refused
    draft.ClearField("move")
    return True
