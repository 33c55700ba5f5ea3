"""Our re-INVITEs in the record, for moves and target refreshes: at most one is open in a dialog.

CSeq, branch and offer are saved before the request is sent, so an edge at the same address that sends it
again sends a retransmission. From another address it would be a new transaction with a used CSeq.
"""

from dataclasses import dataclass

from sipgw.api.calls.v1 import session_pb2 as calls


@dataclass(frozen=True, slots=True)
class SavedInvite:
    """A re-INVITE of ours as the record has it. `contact`: our URI in it; empty: unknown."""

    cseq: int
    branch: str
    offer: bytes
    contact: str


def of_move(record: calls.CallSession) -> SavedInvite:
    """Read the re-INVITE of the record's move."""
    move = record.move
    return SavedInvite(move.cseq, move.branch, move.offer, move.contact)


def of_refresh(record: calls.CallSession) -> SavedInvite:
    """Read the re-INVITE of the record's target refresh."""
    refresh = record.refresh
    return SavedInvite(refresh.cseq, refresh.branch, refresh.offer, refresh.contact)


def is_quiet(record: calls.CallSession) -> bool:
    """Tell whether no INVITE is under way in the dialog, ours or theirs (RFC 3261 §14.1)."""
    leg = record.legs[0]
    is_settled = leg.offer_pending == calls.OFFER_PENDING_UNSPECIFIED and leg.invite.ack_seen
    owes_ack = (record.HasField("move") and record.move.phase == calls.MOVE_PHASE_SWITCHING) or (
        record.HasField("refresh") and record.refresh.phase == calls.REFRESH_PHASE_ACCEPTED
    )
    return record.state == calls.CALL_STATE_ESTABLISHED and is_settled and not owes_ack
