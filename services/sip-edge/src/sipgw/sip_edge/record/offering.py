"""Changes of the record by the peer's offers and ACKs: pure functions of a draft.

They return False if the record forbids the change. An offer is begun, then settled or withdrawn. There is one
at a time: the record has the pending one.
"""

from dataclasses import dataclass, field
from enum import Enum, auto

from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.sip.dialog import CSeqOrder, cseq_order
from sipgw.sip_edge.record.states import ANSWERED, OVER


class Obstacle(Enum):
    """Why an offer of the peer cannot be begun now."""

    COPY = auto()
    """The request is the INVITE in the record, or the pending UPDATE: another edge serves it."""
    OVER = auto()
    UNANSWERED = auto()
    OUT_OF_ORDER = auto()
    """A request with this CSeq or a later one was served before."""
    OURS_PENDING = auto()
    THEIRS_PENDING = auto()


@dataclass(frozen=True, slots=True)
class Answer:
    """The SDP answer in an ACK."""

    sdp: bytes
    is_held: bool = field(kw_only=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """The result of an offer. Empty values leave those of the record as they are."""

    remote_sdp: bytes
    """The body of the request."""
    local_sdp: bytes
    is_changed: bool
    """The descriptions differ from those agreed before."""
    has_offer: bool
    """Our response has an offer, which the ACK answers."""
    is_held: bool
    remote_target: str
    local_target: str
    final: bytes
    """Our 200 to an INVITE."""
    generation: int
    """The generation of the last command to the relay."""


def is_copy(record: calls.CallSession, cseq: int, branch: str) -> bool:
    """Tell whether the record's INVITE has that CSeq and branch."""
    invite = record.legs[0].invite
    return (invite.cseq, invite.branch) == (cseq, branch)


def obstacle_to(record: calls.CallSession, cseq: int, invite: calls.InviteState | None) -> Obstacle | None:
    """Return the obstacle to an offer with that CSeq, or None. `invite`: None for an UPDATE.

    An UPDATE that was served can be served again, with the same result: its response may have been lost.
    """
    leg = record.legs[0]
    if invite is not None and is_copy(record, invite.cseq, invite.branch):
        return Obstacle.COPY
    if record.state not in ANSWERED:
        return Obstacle.OVER if record.state in OVER else Obstacle.UNANSWERED
    order = cseq_order(cseq, leg.dialog.remote_cseq)
    is_update_again = invite is None and order is CSeqOrder.REPEATED
    if order is not CSeqOrder.NEW and not is_update_again:
        return Obstacle.OUT_OF_ORDER
    if leg.offer_pending == calls.OFFER_PENDING_LOCAL:
        return Obstacle.OURS_PENDING
    if leg.offer_pending == calls.OFFER_PENDING_REMOTE:
        return Obstacle.COPY if is_update_again else Obstacle.THEIRS_PENDING
    return None


def is_taken(record: calls.CallSession, cseq: int) -> bool:
    """Return whether the call goes on and the peer's last request has that CSeq: an edge has taken it."""
    return record.state in ANSWERED and record.legs[0].dialog.remote_cseq == cseq


def begin(
    draft: calls.CallSession,
    cseq: int,
    invite: calls.InviteState | None,
    offer: calls.PendingOffer | None,
) -> bool:
    """Note that the peer's request is being served. `offer`: None for an UPDATE without one.

    A re-INVITE without an offer asks for ours.
    """
    if obstacle_to(draft, cseq, invite) is not None:
        return False
    leg = draft.legs[0]
    leg.dialog.remote_cseq = cseq
    if invite is not None:
        leg.invite.CopyFrom(invite)
    if offer is not None:
        leg.offer_pending = calls.OFFER_PENDING_REMOTE
        leg.pending_offer.CopyFrom(offer)
    return True


def is_begun(record: calls.CallSession) -> bool:
    """Tell whether an offer of the peer is being served."""
    return record.state in ANSWERED and record.legs[0].offer_pending == calls.OFFER_PENDING_REMOTE


def settle(draft: calls.CallSession, settled: Settled) -> bool:
    """Note the agreed media; the 200 is about to be sent."""
    was_pending = bool(settled.final or settled.remote_sdp)
    if draft.state not in ANSWERED or (was_pending and not is_begun(draft)):
        return False
    leg = draft.legs[0]
    if settled.is_changed:
        leg.remote_sdp = settled.remote_sdp
    if settled.is_changed or settled.has_offer:
        leg.local_sdp, leg.local_sdp_version = settled.local_sdp, leg.local_sdp_version + 1
    if settled.remote_sdp:
        leg.on_hold = settled.is_held
    leg.offer_pending = calls.OFFER_PENDING_LOCAL if settled.has_offer else calls.OFFER_PENDING_UNSPECIFIED
    leg.ClearField("pending_offer")
    if settled.remote_target:
        leg.dialog.remote_target = settled.remote_target
    leg.local_target = settled.local_target
    if settled.final:
        leg.invite.last_final = settled.final
    draft.media.generation = settled.generation
    return True


def withdraw(draft: calls.CallSession) -> bool:
    """Forget an offer that failed; the session stays as it was (RFC 3261 §14.2)."""
    if not is_begun(draft):
        return False
    leg = draft.legs[0]
    leg.offer_pending = calls.OFFER_PENDING_UNSPECIFIED
    leg.ClearField("pending_offer")
    if (
        leg.invite.cseq == leg.dialog.remote_cseq
    ):  # not for an UPDATE: our 200 to the INVITE still wants its ACK
        leg.invite.ack_seen = True
    return True


def acknowledge(draft: calls.CallSession, cseq: int, answer: Answer | None, *, longest_ms: int) -> bool:
    """Note the ACK of our 200 to the INVITE with that CSeq; the first one establishes the call.

    `answer` answers the offer in our 200, if it had one. `longest_ms`: how long a call may last after its
    answer; 0: for ever.
    """
    leg = draft.legs[0]
    if draft.state not in ANSWERED or leg.invite.cseq != cseq or leg.invite.ack_seen:
        return False
    leg.invite.ack_seen = True
    if draft.state == calls.CALL_STATE_ANSWERED:
        draft.state = calls.CALL_STATE_ESTABLISHED
        draft.deadline_ms = draft.answered_ms + longest_ms if longest_ms else 0
    if answer is not None:
        leg.remote_sdp = answer.sdp
        leg.offer_pending = calls.OFFER_PENDING_UNSPECIFIED
        leg.on_hold = answer.is_held
    return True
