"""LostCalls: end calls, as `lost`, that no edge claims after their owner's lease has lapsed."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from sipgw.api.calls.v1.session_pb2 import CALL_STATE_ENDED, END_CAUSE_LOST, CallSession
from sipgw.calls import CallStore, EdgeLeases, identity_of
from sipgw.registry import metrics
from sipgw.registry.call_registry import CallRegistry
from sipgw.registry.errors import NotMaterialised
from sipgw.runtime.settings import Identity
from sipgw.runtime.telemetry.logs import get_logger
from sipgw.store import StoreUnavailable

LOST_AFTER_S: Final = 60.0
"""Edges claim within seconds; a call left after this time has no edge that can claim it."""
_PERIOD_S: Final = 1.0


class LostCalls:
    """`run` it as a task, at every replica: compare-and-set lets only one of them end a call."""

    def __init__(
        self,
        calls: CallStore,
        leases: EdgeLeases,
        registry: CallRegistry,
        *,
        lost_after_s: float = LOST_AFTER_S,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._calls = calls
        self._leases = leases
        self._registry = registry
        self._lost_after_s = lost_after_s
        self._monotonic = monotonic
        self._unowned_since: dict[str, float] = {}
        self._log = get_logger("sipgw.registry.lost_calls")

    async def run(self) -> None:
        """Look each second, for ever."""
        while True:
            try:
                await self.look()
            except (StoreUnavailable, NotMaterialised):
                self._unowned_since.clear()
            await asyncio.sleep(_PERIOD_S)

    async def look(self) -> None:
        """End calls without a live owner for long enough, if we may judge the leases."""
        live = {lease.identity for lease in await self._leases.live()}
        if not self._leases.may_judge() or self._registry.is_in_grace:
            self._unowned_since.clear()
            return
        summaries, _ = self._registry.list()
        now = self._monotonic()
        unowned = {
            call.call_id: identity_of(call.owner) for call in summaries if identity_of(call.owner) not in live
        }
        self._unowned_since = {call_id: self._unowned_since.get(call_id, now) for call_id in unowned}
        for call_id, since in self._unowned_since.items():
            if now - since >= self._lost_after_s:
                await self._end(call_id, unowned[call_id])

    async def _end(self, call_id: str, owner: Identity) -> None:
        def as_lost(session: CallSession) -> CallSession | None:
            if session.state == CALL_STATE_ENDED or identity_of(session.owner) != owner:
                return None
            session.state, session.end_cause = CALL_STATE_ENDED, END_CAUSE_LOST
            session.end_reason = f"edge {owner.name} is gone and no other edge claimed the call"
            return session

        lost = await self._calls.update(call_id, as_lost)
        if lost is not None:
            metrics.CALLS_LOST.inc()
            self._log.warning("call_lost", call_id=call_id, trace_id=lost.trace.trace_id, owner=owner.name)
