"""Changes of the record by the steps of a target refresh: pure functions of a draft.

They return False if the record forbids the change. WANTED → OFFERING → ACCEPTED → no refresh. Glare leads
back to WANTED, and so does an edge at another address; until ACCEPTED a refresh can be dropped.
"""

from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.sip_edge.record.reinviting import is_quiet
from sipgw.sip_edge.record.states import ANSWERED


def is_in(record: calls.CallSession, phase: calls.RefreshPhase.ValueType) -> bool:
    """Tell whether the call is answered and its refresh in that phase."""
    return record.state in ANSWERED and record.HasField("refresh") and record.refresh.phase == phase


def is_needed(record: calls.CallSession, *, known: str, contact: str) -> bool:
    """Tell whether the caller knows another Contact of ours than `contact`.

    `known`: that one; "": unknown.
    """
    return record.state in ANSWERED and bool(known) and known != contact


def want(draft: calls.CallSession, *, known: str, contact: str) -> bool:
    """Note that the caller, which knows our Contact as `known`, has to get `contact`."""
    if draft.HasField("refresh") or not is_needed(draft, known=known, contact=contact):
        return False
    draft.refresh.phase = calls.REFRESH_PHASE_WANTED
    return True


def offer(draft: calls.CallSession, *, branch: str, contact: str) -> bool:
    """Note that our re-INVITE with the description last agreed is about to be sent.

    False while a move has a target: the re-INVITE of the move gives the Contact as well.
    """
    if not is_in(draft, calls.REFRESH_PHASE_WANTED) or not is_quiet(draft):
        return False
    if draft.HasField("move") and draft.move.phase != calls.MOVE_PHASE_PLACING:
        return False
    leg, refresh = draft.legs[0], draft.refresh
    leg.dialog.local_cseq += 1
    leg.offer_pending = calls.OFFER_PENDING_LOCAL
    refresh.phase = calls.REFRESH_PHASE_OFFERING
    refresh.cseq, refresh.branch = leg.dialog.local_cseq, branch
    refresh.offer, refresh.contact = leg.local_sdp, contact
    return True


def offer_again(draft: calls.CallSession, cseq: int, retries: int) -> bool:
    """Note that the re-INVITE with that CSeq failed: offer later, with the next CSeq."""
    if not is_in(draft, calls.REFRESH_PHASE_OFFERING) or draft.refresh.cseq != cseq:
        return False
    draft.legs[0].offer_pending = calls.OFFER_PENDING_UNSPECIFIED
    draft.refresh.phase = calls.REFRESH_PHASE_WANTED
    draft.refresh.retries = retries
    return True


def accept(draft: calls.CallSession, cseq: int, answer: bytes, *, target: str, is_held: bool) -> bool:
    """Note that the caller accepted the re-INVITE with that CSeq."""
    if not is_in(draft, calls.REFRESH_PHASE_OFFERING) or draft.refresh.cseq != cseq:
        return False
    leg, refresh = draft.legs[0], draft.refresh
    refresh.phase = calls.REFRESH_PHASE_ACCEPTED
    refresh.changes_media = answer != leg.remote_sdp
    leg.local_target = refresh.contact
    leg.remote_sdp = answer
    leg.offer_pending = calls.OFFER_PENDING_UNSPECIFIED
    leg.on_hold = is_held
    if target:
        leg.dialog.remote_target = target
    return True


def settle(draft: calls.CallSession, generation: int) -> bool:
    """Note that the ACK is sent and the relay has the changed media, and remove the refresh."""
    if not is_in(draft, calls.REFRESH_PHASE_ACCEPTED):
        return False
    if draft.refresh.changes_media:
        draft.media.generation = generation
    draft.ClearField("refresh")
    return True


def drop(draft: calls.CallSession) -> bool:
    """Remove the refresh; the call stays as it is."""
    if draft.state not in ANSWERED or not draft.HasField("refresh"):
        return False
    if draft.refresh.phase == calls.REFRESH_PHASE_ACCEPTED:
        return False
    if draft.refresh.phase == calls.REFRESH_PHASE_OFFERING:
        draft.legs[0].offer_pending = calls.OFFER_PENDING_UNSPECIFIED
    draft.ClearField("refresh")
    return True
