"""Deliver a message to the edge that has its transaction.

If that edge does not respond, this edge serves the message from the record. The record has the last response
sent, so a retransmission always gets it again.
"""

from collections.abc import Sequence
from typing import Final

from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.api.edge.v1 import edge_pb2 as edge
from sipgw.calls import identity_of
from sipgw.control import EdgeClient, EdgeUnreachable
from sipgw.sip import (
    Address,
    RequestReceived,
    SipRequest,
    SipResponse,
    response_destination,
    serialize,
)
from sipgw.sip_edge import metrics
from sipgw.sip_edge.call.live_calls import log_of
from sipgw.sip_edge.peers.edges import Edges
from sipgw.sip_edge.record.records import CallRecords
from sipgw.sip_edge.sip.identifiers import edge_of_branch
from sipgw.sip_edge.sip.invite_records import endpoint_of
from sipgw.sip_edge.sip.responses import response_to
from sipgw.sip_edge.sip.server import SipServer

_ENDED: Final = calls.CALL_STATE_ENDED


class Delivery:
    """Delivers messages to their edge, or tells that this edge has to serve them itself."""

    def __init__(self, me: str, records: CallRecords, sip: SipServer, edges: Edges) -> None:
        self._me = me
        self._records = records
        self._sip = sip
        self._edges = edges

    async def invite_known(self, event: RequestReceived, record: calls.CallSession) -> None:
        """Serve an INVITE whose call already has a record.

        It is a retransmission of one that another edge received, or a merged request.
        """
        invite = record.legs[0].invite
        branch = event.request.via.branch or ""
        if branch != invite.branch:
            # RFC 3261 §8.2.2.2: the same request arrived by another path
            tag = record.legs[0].dialog.local_tag
            self._sip.respond(event.key, response_to(event.request, 482, to_tag=tag))
            return
        self._sip.forget(event.key)
        log_of(record).info("invite_retransmission_taken", owner=record.owner.name)
        if await self.deliver(record, event.request, event.source, event.received_on):
            return
        data = invite.last_final or invite.last_provisional
        if data:
            self._sip.send(data, response_destination(event.request.via, event.source))

    async def deliver(
        self,
        record: calls.CallSession,
        message: SipRequest,
        source: Address,
        received_on: Address | None,
    ) -> bool:
        """Deliver a message to the edge that owns the call; False: serve it here."""
        if self._records.is_mine(record) or (record.state == _ENDED and message.method != "ACK"):
            return False
        client = self._edges.client(identity_of(record.owner))
        if client is None:
            return False
        return await self._deliver(client, record.call_id, message, source, received_on)

    async def deliver_to_any(
        self, call_id: str, message: SipRequest, source: Address, received_on: Address | None
    ) -> bool:
        """Deliver a message to each edge in turn until one handles it.

        Without the record its owner is unknown.
        """
        for other in self._edges.live:
            client = self._edges.client(other)
            if client is not None and await self._deliver(client, call_id, message, source, received_on):
                return True
        return False

    async def deliver_response(self, response: SipResponse, source: Address, received_on: Address) -> None:
        """Deliver a response to the edge that sent the request, which its branch names."""
        client = self._edges.named(edge_of_branch(response.via.branch or ""))
        if client is None:
            metrics.DATAGRAMS_DROPPED.labels("stray_response").inc()
            return
        await self._ask(client, "", serialize(response), source, received_on)

    async def _deliver(
        self,
        client: EdgeClient,
        call_id: str,
        message: SipRequest,
        source: Address,
        received_on: Address | None,
    ) -> bool:
        responses = await self._ask(client, call_id, serialize(message), source, received_on)
        if responses is None:
            return False
        destination = response_destination(message.via, source)
        for response in responses:
            self._sip.send(response, destination)
        return True

    async def _ask(
        self, client: EdgeClient, call_id: str, data: bytes, source: Address, received_on: Address | None
    ) -> Sequence[bytes] | None:
        request = edge.DeliverRequest(
            call_id=call_id,
            message=data,
            source=endpoint_of(source),
            received_on=endpoint_of(received_on),
            from_edge=self._me,
        )
        try:
            response = await client.deliver(request)
        except EdgeUnreachable:
            metrics.DELIVERED.labels("unreachable").inc()
            return None
        is_handled = response.outcome == edge.DELIVER_OUTCOME_HANDLED
        metrics.DELIVERED.labels("handled" if is_handled else "not_mine").inc()
        return response.responses if is_handled else None
