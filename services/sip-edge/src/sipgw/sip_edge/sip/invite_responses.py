"""Send responses to INVITEs, and repeat a 2xx until its ACK comes.

A response goes through the server transaction if this edge has it, else straight to the caller. A 2xx is
repeated after T1, then at doubled intervals up to T2, for 64*T1 (RFC 3261 §13.3.1.4). Another edge may have
received the ACK, so before a 2xx of a call that this edge does not own is repeated, the record is read.
"""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine

from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.sip import Address, OkRetransmission, SipResponse, TransactionKey
from sipgw.sip_edge.process import Process
from sipgw.sip_edge.record.records import CallRecords
from sipgw.sip_edge.record.states import OVER
from sipgw.sip_edge.sip.server import SipServer
from sipgw.store import StoreUnavailable

NoAck = Callable[[str], Coroutine[None, None, None]]


class InviteResponses:
    """Send responses and repeat 2xx; `on_no_ack` is called for a call whose 2xx was never acknowledged."""

    def __init__(self, process: Process, sip: SipServer, records: CallRecords, on_no_ack: NoAck) -> None:
        self._sip = sip
        self._records = records
        self._tasks = process.tasks
        self._timers = process.settings.times.sip
        self._loop = asyncio.get_running_loop()
        self._unacked: dict[tuple[str, int], OkRetransmission] = {}
        self._settled: dict[str, asyncio.Event] = {}
        self._on_no_ack = on_no_ack

    def send(
        self, call_id: str, response: SipResponse, key: TransactionKey | None, destination: Address | None
    ) -> None:
        """Send a response; repeat a 2xx until `acked`."""
        if key is not None:
            self._sip.respond(key, response)
        elif destination is not None:
            self._sip.send(response, destination)
        if 200 <= response.status < 300 and destination is not None:
            self._keep_sending(call_id, response, destination)

    def fail(self, key: TransactionKey, to_tag: str) -> None:
        """Respond with 500, because the intended response could not be made."""
        self._sip.fail(key, to_tag)

    def acked(self, call_id: str, cseq: int) -> bool:
        """Stop repeating a 2xx whose ACK has come; False: this edge was not repeating it."""
        unacked = self._unacked.get((call_id, cseq))
        if unacked is None:
            return False
        unacked.acked()
        self._drop((call_id, cseq))
        return True

    def is_waiting(self, call_id: str) -> bool:
        """Tell whether a 2xx of the call waits for its ACK here."""
        return any(key[0] == call_id for key in self._unacked)

    async def settled(self, call_id: str) -> None:
        """Wait until no 2xx of the call waits for its ACK: the ACK came, or its time is over."""
        while self.is_waiting(call_id):
            waiter = self._settled.setdefault(call_id, asyncio.Event())
            await waiter.wait()

    def stop(self, call_id: str) -> None:
        """Stop repeating the 2xx of a call that is over."""
        for key in [key for key in self._unacked if key[0] == call_id]:
            self._drop(key)

    def _drop(self, key: tuple[str, int]) -> None:
        del self._unacked[key]
        waiter = self._settled.pop(key[0], None)
        if waiter is not None:
            waiter.set()

    def _keep_sending(self, call_id: str, response: SipResponse, destination: Address) -> None:
        key = (call_id, response.cseq.number)
        if key in self._unacked:
            return
        self._unacked[key] = OkRetransmission(response, destination, self._loop.time(), self._timers)
        self._arm(key)

    def _arm(self, key: tuple[str, int]) -> None:
        unacked = self._unacked.get(key)
        due = unacked.next_timer() if unacked is not None else None
        if due is not None:
            self._loop.call_at(due, self._fire, key)

    def _fire(self, key: tuple[str, int]) -> None:
        if key not in self._unacked:
            return
        if self._records.copy_of(key[0]) is not None:
            self._send_again(key)
        else:
            self._tasks.spawn(self._ask_and_send_again(key), "ask for ACK", call_id=key[0])

    async def _ask_and_send_again(self, key: tuple[str, int]) -> None:
        call_id, cseq = key
        record = None
        try:
            with contextlib.suppress(StoreUnavailable):
                record = await self._records.load(call_id)
        finally:
            if record is not None and _is_acked(record, cseq):
                self.acked(call_id, cseq)
            else:
                self._send_again(key)

    def _send_again(self, key: tuple[str, int]) -> None:
        unacked = self._unacked.get(key)
        if unacked is None:
            return
        now = self._loop.time()
        unacked.handle_timer(now)
        try:
            for data, destination in unacked.datagrams_to_send(now):
                self._sip.send(data, destination)
        finally:  # even if sending fails: the end of a call waits until the 2xx was sent for the last time
            if unacked.gave_up:
                self._drop(key)
                self._tasks.spawn(self._on_no_ack(key[0]), "no ACK", call_id=key[0])
            else:
                self._arm(key)


def _is_acked(record: calls.CallSession, cseq: int) -> bool:
    invite = record.legs[0].invite
    return record.state in OVER or invite.cseq != cseq or invite.ack_seen
