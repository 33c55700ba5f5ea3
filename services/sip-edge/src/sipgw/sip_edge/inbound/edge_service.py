"""Serve edge/v1: messages that other edges deliver, hang-ups that the registry asks for, and bans."""

import grpc
import grpc.aio

from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.api.edge.v1 import edge_pb2 as pb
from sipgw.api.edge.v1.edge_pb2_grpc import EdgeServiceServicer
from sipgw.runtime.tls import require_role
from sipgw.sip import SipParseError, SipRequest, SipResponse, parse_message
from sipgw.sip_edge.call.ending import CallEnding, End
from sipgw.sip_edge.call.live_calls import LiveCalls
from sipgw.sip_edge.guard.stranger_guard import StrangerGuard
from sipgw.sip_edge.sip.identifiers import is_branch_of
from sipgw.sip_edge.sip.invite_records import address_of
from sipgw.sip_edge.sip.server import SipServer
from sipgw.store import StoreUnavailable

SERVICE_NAME = "sipgw.api.edge.v1.EdgeService"
_OF_THE_INVITE = frozenset({"INVITE", "CANCEL"})


class EdgeService(EdgeServiceServicer):
    """Serves messages that belong to this edge; responds NOT_MINE to all others."""

    def __init__(
        self,
        name: str,
        sip: SipServer,
        live: LiveCalls,
        ending: CallEnding,
        guard: StrangerGuard,
        *,
        response_wait_s: float,
    ) -> None:
        self._guard = guard
        self._name = name
        self._sip = sip
        self._live = live
        self._ending = ending
        self._response_wait_s = response_wait_s

    async def Deliver(
        self,
        request: pb.DeliverRequest,
        context: "grpc.aio.ServicerContext[pb.DeliverRequest, pb.DeliverResponse]",
    ) -> pb.DeliverResponse:
        """Handle a SIP message that another edge received for a call or transaction of ours."""
        await require_role(context, "edge")
        try:
            message = parse_message(request.message)
        except SipParseError:
            return pb.DeliverResponse(outcome=pb.DELIVER_OUTCOME_NOT_MINE)
        if not self._is_mine(request.call_id, message):
            return pb.DeliverResponse(outcome=pb.DELIVER_OUTCOME_NOT_MINE)
        responses = await self._sip.deliver(
            request.message,
            address_of(request.source),
            address_of(request.received_on),
            wait_s=self._response_wait_s,
            expects_response=isinstance(message, SipRequest) and message.method != "ACK",
        )
        return pb.DeliverResponse(outcome=pb.DELIVER_OUTCOME_HANDLED, responses=responses)

    async def Hangup(
        self,
        request: pb.HangupRequest,
        context: "grpc.aio.ServicerContext[pb.HangupRequest, pb.HangupResponse]",
    ) -> pb.HangupResponse:
        """End a call of ours."""
        await require_role(context, "registry", "operator")
        end = End(calls.END_CAUSE_OPERATOR, request.reason or "hung up by the operator")
        try:
            record = await self._ending.decide(request.call_id, end)
        except StoreUnavailable:
            record = None
        if record is not None:
            self._ending.end_soon(record)
        return pb.HangupResponse(found=record is not None)

    async def ListBans(
        self,
        request: pb.ListBansRequest,
        context: "grpc.aio.ServicerContext[pb.ListBansRequest, pb.ListBansResponse]",
    ) -> pb.ListBansResponse:
        """List the sources that this edge bans."""
        await require_role(context, "registry", "operator")
        return pb.ListBansResponse(bans=self._guard.list_bans())

    async def LiftBan(
        self,
        request: pb.LiftBanRequest,
        context: "grpc.aio.ServicerContext[pb.LiftBanRequest, pb.LiftBanResponse]",
    ) -> pb.LiftBanResponse:
        """Lift the bans of a source."""
        await require_role(context, "registry", "operator")
        try:
            return pb.LiftBanResponse(found=self._guard.lift(request.source))
        except ValueError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))

    def _is_mine(self, call_id: str, message: SipRequest | SipResponse) -> bool:
        if isinstance(message, SipResponse):
            return is_branch_of(message.via.branch or "", self._name)
        if message.method == "ACK" and self._sip.awaits_ack(message):
            return True
        live = self._live.get(call_id)
        if live is None:
            return False
        if message.method in _OF_THE_INVITE and message.to.tag is None:
            return live.invite_key is not None and live.invite_key.branch == message.via.branch
        return True
