"""Stop serving calls whose record says that they have ended or names another edge as owner."""

from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.sip import TransactionKey
from sipgw.sip_edge import metrics
from sipgw.sip_edge.call.live_calls import LiveCalls
from sipgw.sip_edge.sip.responses import InviteResponseTemplate
from sipgw.sip_edge.sip.signalling import Signalling


class LostCalls:
    """Stops serving calls that are not this edge's any more."""

    def __init__(self, live: LiveCalls, signalling: Signalling) -> None:
        self._live = live
        self._sip = signalling.sip
        self._responses = signalling.responses

    def let_go(self, record: calls.CallSession) -> None:
        """Stop all that runs here for a call.

        If its INVITE's transaction is here, send the saved final response.
        """
        self._responses.stop(record.call_id)
        live = self._live.remove(record.call_id)
        if live is None or live.invite_key is None or record.answered_ms:
            return
        try:
            self._respond_from_record(live.invite_key, record.legs[0])
        except Exception:  # the record is saved, and stays so even if no response can be made
            metrics.STEPS_FAILED.labels("answer").inc()
            live.log.exception("end_step_failed", step="answer")
            self._sip.fail(live.invite_key, record.legs[0].dialog.local_tag)

    def _respond_from_record(self, invite: TransactionKey, leg: calls.Leg) -> None:
        """Send the final response that another edge saved, because the transaction is here."""
        final = InviteResponseTemplate.from_record(leg, "") if leg.invite.last_final else None
        if final is not None:
            self._sip.respond(invite, final.response)
