"""Changes of the record by the end of a call: pure functions of a draft.

They return False if the record forbids the change. Every state but ENDED → ENDING → ENDED. If two parties end
a call at once, the later one finds it ENDING.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.sip_edge.record.states import OVER

PEER_HAS_LEFT: Final = frozenset({calls.END_CAUSE_CALLER_HANGUP})
"""Causes after which we send the peer no BYE."""
MakeFinal: TypeAlias = Callable[[calls.CallSession], bytes]
"""Makes the final response to the INVITE of a call; empty if it cannot be made."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Why a call ends. `status` and `make_final` are for the final response, if its INVITE has none yet."""

    cause: calls.EndCause.ValueType
    reason: str
    status: int
    make_final: MakeFinal


def end(draft: calls.CallSession, decision: Decision) -> bool:
    """Note that the call ends."""
    if draft.state in OVER:
        return False
    draft.state = calls.CALL_STATE_ENDING
    draft.end_cause, draft.end_reason = decision.cause, decision.reason
    draft.deadline_ms = 0
    leg = draft.legs[0]
    if draft.answered_ms:
        if decision.cause not in PEER_HAS_LEFT:
            leg.dialog.local_cseq += 1  # the CSeq of our BYE: an edge that repeats the BYE uses the same
        return True
    draft.sip_status = decision.status
    final = decision.make_final(draft)
    if final:
        leg.invite.last_final = final
    return True


def cancel(draft: calls.CallSession, decision: Decision) -> bool:
    """Note that the caller cancelled its INVITE; False after the 200, when it is too late (RFC 3261 §9.2)."""
    return not draft.answered_ms and end(draft, decision)


def hang_up(draft: calls.CallSession, decision: Decision, cseq: int) -> bool:
    """Note the caller's BYE with that CSeq. False also if a later request was served before."""
    if draft.state in OVER or cseq < draft.legs[0].dialog.remote_cseq:
        return False
    draft.legs[0].dialog.remote_cseq = cseq
    return end(draft, decision)


def bury(draft: calls.CallSession) -> bool:
    """Make the record a tombstone."""
    if draft.state == calls.CALL_STATE_ENDED:
        return False
    draft.state = calls.CALL_STATE_ENDED
    draft.deadline_ms = 0
    return True


def copy_end(draft: calls.CallSession, ended: calls.CallSession) -> bool:
    """Copy the end of a call from another version of its record."""
    if draft.state == calls.CALL_STATE_ENDED:
        return False
    draft.state = calls.CALL_STATE_ENDED
    draft.end_cause, draft.end_reason, draft.ended_ms = ended.end_cause, ended.end_reason, ended.ended_ms
    return True
