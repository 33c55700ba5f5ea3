"""Changes of the record by the steps of a set-up: pure functions of a draft.

They return False if the record forbids the change. INVITED → PLACED → RINGING → ANSWERED. A relay that
refuses the call or dies leads back to PLACED.
"""

from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.api.registry.v1 import registry_pb2 as registry
from sipgw.api.relay.v1 import control_pb2 as relay
from sipgw.sip_edge.record.bots import note_ready
from sipgw.sip_edge.record.states import UNANSWERED


def place(draft: calls.CallSession, placement: registry.Placement) -> bool:
    """Note the relay that has room for the call, the first one or another."""
    if draft.state not in UNANSWERED:
        return False
    if draft.media.relay.incarnation:
        draft.bot.epoch += 1  # the old relay has the bot's stream, or may open it late
    draft.state = calls.CALL_STATE_PLACED
    draft.media.Clear()
    draft.media.relay.CopyFrom(placement.relay)
    draft.media.control_address = placement.control_address
    draft.media.media_address = placement.advertised_address
    return True


def ring(
    draft: calls.CallSession,
    anchor: calls.MediaAnchor,
    *,
    local_sdp: bytes,
    provisional: bytes,
    deadline_ms: int,
) -> bool:
    """Note the ports of the relay's session; 180 or 183 is about to be sent.

    `provisional`: that response; empty if another edge has the transaction. `deadline_ms`: when the bot has
    to be ready.
    """
    if draft.state != calls.CALL_STATE_PLACED:
        return False
    draft.state = calls.CALL_STATE_RINGING
    draft.media.CopyFrom(anchor)
    draft.deadline_ms = deadline_ms
    leg = draft.legs[0]
    leg.local_sdp, leg.local_sdp_version = local_sdp, 1
    if provisional:
        leg.invite.last_provisional = provisional
    return True


def answer(
    draft: calls.CallSession,
    ready: relay.BotReady | None,
    *,
    final: bytes,
    local_target: str,
    now_ms: int,
    deadline_ms: int,
) -> bool:
    """Note the 200 that is about to be sent.

    `final`: that response. `local_target`: the URI of our Contact in it. `ready`: the facts known of the bot.
    `deadline_ms`: when the caller's ACK has to be there.
    """
    if draft.state != calls.CALL_STATE_RINGING:
        return False
    draft.state = calls.CALL_STATE_ANSWERED
    draft.sip_status = 200
    draft.answered_ms = now_ms
    draft.deadline_ms = deadline_ms
    leg = draft.legs[0]
    leg.invite.last_final = final
    leg.dialog.early = False
    leg.local_target = local_target
    if not leg.remote_sdp:
        leg.offer_pending = calls.OFFER_PENDING_LOCAL
    if ready is not None:
        note_ready(draft, ready)
    return True
