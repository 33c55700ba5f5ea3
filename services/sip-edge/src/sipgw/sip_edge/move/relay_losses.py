"""Move the calls of a relay that is silent or gone.

A busy machine may make a relay look silent, so a call that has just moved because of silence waits for a
while before it moves again, unless the relay is certainly gone.
"""

import asyncio

from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.calls import identity_of
from sipgw.runtime.settings import Identity
from sipgw.sip_edge.call.live_calls import RelayGone
from sipgw.sip_edge.call.served_calls import ServedCalls
from sipgw.sip_edge.media.relays import Relays
from sipgw.sip_edge.move.moves import Moves
from sipgw.sip_edge.process import Process
from sipgw.sip_edge.record.moving import hold_off_ms
from sipgw.sip_edge.record.states import ANSWERED


class RelayLosses:
    """Moves calls away from relays. Silence alone moves no call for `move_hold_off_s` after its last move."""

    def __init__(self, process: Process, served: ServedCalls, relays: Relays, moves: Moves) -> None:
        self._records = served.records
        self._live = served.live
        self._relays = relays
        self._moves = moves
        self._tasks = process.tasks
        self._hold_off_ms = int(process.settings.times.move_hold_off_s * 1000)

    def note_silent(self, identity: Identity) -> None:
        """Move the calls of a silent relay; those that have just moved follow when their time has come."""
        now_ms = self._moves.now_ms()
        waits_ms: list[int] = []
        for record in self._calls_of(identity):
            wait_ms = hold_off_ms(record, now_ms, self._hold_off_ms)
            if wait_ms:
                waits_ms.append(wait_ms)
            else:
                self._leave(record)
        if waits_ms:
            self._tasks.spawn(self._look_again(identity, min(waits_ms) / 1000), "hold off")

    def note_gone(self, identity: Identity) -> None:
        """Move every call of a relay that no longer exists."""
        for record in self._calls_of(identity):
            self._leave(record)

    def note_claimed(self, record: calls.CallSession) -> bool:
        """Move a call that this edge has just claimed if its relay is lost; False: the relay is not lost."""
        is_lost = self._relays.is_silent(identity_of(record.media.relay))
        if is_lost:
            self._leave(record)
        return is_lost

    async def is_responsive(self, record: calls.CallSession) -> bool:
        """Tell whether the relay of a call responds; one that does not is silent from now on."""
        return await self._relays.is_responsive(record.media)

    async def _look_again(self, identity: Identity, after_s: float) -> None:
        await asyncio.sleep(after_s)
        if self._relays.is_silent(identity):
            self.note_silent(identity)

    def _calls_of(self, identity: Identity) -> list[calls.CallSession]:
        return [record for record in self._records.owned if identity_of(record.media.relay) == identity]

    def _leave(self, record: calls.CallSession) -> None:
        live = self._live.get(record.call_id)
        if live is None:
            return
        if record.state in ANSWERED:
            self._moves.relay_lost(live, record)
        elif record.state == calls.CALL_STATE_RINGING:
            live.note_bot(RelayGone(f"media relay {record.media.relay.name} is lost"))
