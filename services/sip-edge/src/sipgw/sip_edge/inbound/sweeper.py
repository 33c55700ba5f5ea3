"""Claim calls periodically, and at once when an edge's lease lapses."""

import asyncio
from typing import Final

from sipgw.runtime.telemetry.logs import get_logger
from sipgw.sip_edge.inbound.claims import Claims, Owners
from sipgw.store import StoreUnavailable

_JUDGE_POLL_S: Final = 0.1
_log = get_logger("sipgw.sip_edge.claims")


class Sweeper:
    """Runs sweeps as long as the edge runs."""

    def __init__(self, claims: Claims, owners: Owners, *, period_s: float) -> None:
        self._claims = claims
        self._edges = owners.edges
        self._may_judge = owners.may_judge
        self._period_s = period_s
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Sweep each period, and at once when woken."""
        while True:
            try:
                async with asyncio.timeout(self._period_s):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            try:
                await self._claims.sweep()
                await self._edges.close_gone()
            except StoreUnavailable as error:
                _log.warning("sweep_failed", error=str(error))

    async def wake_when_judging(self) -> None:
        """Sweep as soon as this edge may judge leases.

        After a restart of the only edge, its calls are waiting.
        """
        while not self._may_judge():  # noqa: ASYNC110 - only time changes it
            await asyncio.sleep(_JUDGE_POLL_S)
        self._wake.set()

    def wake(self) -> None:
        """Sweep at once: an edge is gone."""
        self._wake.set()
