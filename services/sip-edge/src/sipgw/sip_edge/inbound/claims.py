"""Claim the calls of dead edges, partition by partition, spread over the live edges by rendezvous hash."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.calls import identity_of, rendezvous_owner
from sipgw.runtime.settings import Identity
from sipgw.runtime.telemetry.logs import get_logger
from sipgw.sip_edge import metrics
from sipgw.sip_edge.call.ending import End
from sipgw.sip_edge.call.served_calls import ServedCalls
from sipgw.sip_edge.inbound.resumption import Resumption
from sipgw.sip_edge.move.relay_losses import RelayLosses
from sipgw.sip_edge.peers.edges import Edges
from sipgw.sip_edge.process import Process
from sipgw.sip_edge.record.states import HAS_SESSION, UNANSWERED, state_name
from sipgw.store import PARTITIONS, partition_of

_log = get_logger("sipgw.sip_edge.claims")
_PARALLEL: Final = 8
_ENDING_LASTS_S: Final = 40.0
"""Longer than the edge waits for the response to a BYE."""


class OwnerIndex(Protocol):
    """The part of the call store that claims use."""

    async def owners(self, partition: int) -> dict[str, Identity]:
        """Return the live calls of a partition with the owner of each."""
        ...

    async def owned_by(self, identity: Identity, partition: int) -> list[calls.CallSession]:
        """Return the live calls of a partition that `identity` owns."""
        ...


@dataclass(frozen=True, slots=True)
class Owners:
    """Tells which edge owns which calls, and which of these edges are alive."""

    index: OwnerIndex
    edges: Edges
    may_judge: Callable[[], bool]
    """Tells whether this edge has reached Redis for long enough to know that a lease has lapsed."""


class Claims:
    """Claims calls. `sweep` also finds calls whose edge died before this one started."""

    def __init__(
        self,
        process: Process,
        served: ServedCalls,
        owners: Owners,
        losses: RelayLosses,
        resumption: Resumption,
    ) -> None:
        self._me = process.settings.identity
        self._tasks = process.tasks
        self._records = served.records
        self._live = served.live
        self._ending = served.ending
        self._index = owners.index
        self._edges = owners.edges
        self._may_judge = owners.may_judge
        self._losses = losses
        self._resumption = resumption
        self._ending_since: dict[str, float] = {}
        self._edges_before: frozenset[Identity] = frozenset()

    async def sweep(self) -> None:
        """Claim calls that no live edge owns, and drop calls that this edge owns no more, in all partitions.

        Raises StoreUnavailable.
        """
        room = asyncio.Semaphore(_PARALLEL)
        # Looked through once: an edge has thousands of calls, in 64 partitions.
        owned = [record.call_id for record in self._records.owned]
        calls_of: dict[int, list[str]] = {partition: [] for partition in range(PARTITIONS)}
        for call_id in owned:
            calls_of[partition_of(call_id)].append(call_id)

        edges_now = frozenset(self._edges.live)
        is_edge_gone = not self._edges_before <= edges_now

        async def one(partition: int) -> None:
            async with room:
                await self._sweep_partition(partition, calls_of[partition])
                if is_edge_gone and calls_of[partition]:
                    await self._catch_up(partition)

        live_here = set(owned)
        self._ending_since = {k: v for k, v in self._ending_since.items() if k in live_here}
        outcomes = await asyncio.gather(*map(one, range(PARTITIONS)), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        self._edges_before = edges_now

    async def _sweep_partition(self, partition: int, owned: list[str]) -> None:
        owners = await self._index.owners(partition)
        await self._reconcile(owned, owners)
        if not self._may_judge() or not owners:
            return
        alive = {self._me, *self._edges.live}
        gone = {owner for owner in owners.values() if owner not in alive}
        if gone and rendezvous_owner(f"p{partition}", alive) == self._me:
            for edge in gone:
                for record in await self._index.owned_by(edge, partition):
                    await self._claim(record)

    async def _catch_up(self, partition: int) -> None:
        """Read the changes that a dead edge made to calls of ours: it may have left an offer half served."""
        for record in await self._index.owned_by(self._me, partition):
            known = self._records.copy_of(record.call_id)
            if known is not None and known.version < record.version:
                await self._records.reload(record.call_id)

    async def claim_stranded(self, edge: Identity) -> None:
        """Claim the calls of a silent edge whose relay is silent too.

        Raises StoreUnavailable.
        """
        if not self._may_judge():
            return
        others = {self._me, *self._edges.live} - {edge}
        mine = [one for one in range(PARTITIONS) if rendezvous_owner(f"p{one}", others) == self._me]
        owners = await asyncio.gather(*map(self._index.owners, mine))
        for partition, found in zip(mine, owners, strict=True):
            if edge in found.values():
                for record in await self._index.owned_by(edge, partition):
                    if record.state in HAS_SESSION and not await self._losses.is_responsive(record):
                        await self._claim(record)

    async def _reconcile(self, owned: list[str], owners: dict[str, Identity]) -> None:
        """Make the calls served here agree with the owner index; the record decides.

        `owned`: the calls of the partition that were this edge's when the sweep began.
        """
        for call_id in owned:
            record = self._records.copy_of(call_id)
            if record is None:
                continue
            if owners.get(call_id) != self._me:
                await self._records.reload(call_id)
            elif record.state == calls.CALL_STATE_ENDING:
                self._finish_if_stuck(record)
        for call_id in [one for one, owner in owners.items() if owner == self._me]:
            if self._records.copy_of(call_id) is None and not self._records.is_away:
                record = await self._records.reload(call_id)
                if record is not None and self._is_orphan(call_id):
                    self._take_back(record)

    def _is_orphan(self, call_id: str) -> bool:
        return self._records.copy_of(call_id) is not None and self._live.get(call_id) is None

    def _take_back(self, record: calls.CallSession) -> None:
        """Serve a call that is ours by its record but unknown here.

        Redis saved the record, and its reply was lost. If the call was being set up, end it: its INVITE got
        503.
        """
        live = self._resumption.take_up(record)
        if record.state in UNANSWERED:
            end = End(calls.END_CAUSE_REJECTED, "Redis went away while the call was set up")
            self._tasks.spawn(self._ending.end(record.call_id, end), "take back", call_id=live.call_id)
        else:
            self._tasks.spawn(self._resumption.go_on(live, record), "take back", call_id=live.call_id)

    def _finish_if_stuck(self, record: calls.CallSession) -> None:
        """Carry out the end of our call, if the edge that saved the end may have died before it did so."""
        now = asyncio.get_running_loop().time()
        since = self._ending_since.setdefault(record.call_id, now)
        if now - since > _ENDING_LASTS_S:
            del self._ending_since[record.call_id]
            self._ending.end_soon(record)

    async def _claim(self, record: calls.CallSession) -> None:
        claimed = await self._records.claim(record)
        if claimed is None:
            return
        metrics.TAKEN_OVER.inc()
        live = self._resumption.take_up(claimed)
        live.log.info(
            "call_taken_over",
            from_edge=str(identity_of(record.owner)),
            state=state_name(claimed.state),
        )
        self._tasks.spawn(self._resumption.go_on(live, claimed), "go on", call_id=live.call_id)
