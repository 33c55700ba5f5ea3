"""Changes of the record by requests within calls (RFC 3261 §12.2): pure functions, False if nothing changes.

They count CSeq numbers and note which way our requests take.
"""

from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.sip.dialog import CSeqOrder, cseq_order
from sipgw.sip_edge.record.states import ANSWERED


def note_request(draft: calls.CallSession, cseq: int) -> bool:
    """Note that the peer's request with that CSeq was served. False: it, or a later one, was noted before."""
    dialog = draft.legs[0].dialog
    if cseq_order(cseq, dialog.remote_cseq) is not CSeqOrder.NEW:
        return False
    dialog.remote_cseq = cseq
    return True


def number_request(draft: calls.CallSession) -> bool:
    """Take the next CSeq for a request of ours in an answered call."""
    if draft.state not in ANSWERED:
        return False
    draft.legs[0].dialog.local_cseq += 1
    return True


def note_silent_target(draft: calls.CallSession, target: str) -> bool:
    """Note that the source of the INVITE responded to a request of ours that the remote target did not."""
    leg = draft.legs[0]
    if draft.state not in ANSWERED or leg.dialog.remote_target != target or leg.silent_target == target:
        return False
    leg.silent_target = target
    return True
