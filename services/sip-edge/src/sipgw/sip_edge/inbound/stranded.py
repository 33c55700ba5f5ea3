"""Claim calls that lost their edge and their relay together, as when a node dies (ADR 0006).

If only the edge is silent, which may just be slow, the call goes on through its relay and waits until the
edge's lease lapses. If the relay is silent too, the caller hears silence, so its call is claimed at once.
Should the old edge be alive after all, the owner epoch of the record keeps it from changing anything.
"""

import asyncio
from typing import Final

from sipgw.runtime.settings import Identity
from sipgw.runtime.telemetry.logs import get_logger
from sipgw.sip_edge.inbound.claims import Claims
from sipgw.sip_edge.media.silence import SilenceJudge
from sipgw.sip_edge.peers.edges import Edges
from sipgw.store import StoreUnavailable

_PERIOD_S: Final = 0.2
_PATIENCE_S: Final = 0.2
_log = get_logger("sipgw.sip_edge.stranded")


class StrandedCalls:
    """Claims the calls of silent edges and relays.

    `silent_s`: an edge that has returned no ping for so long counts as silent.
    """

    def __init__(self, edges: Edges, claims: Claims, *, silent_s: float) -> None:
        self._edges = edges
        self._claims = claims
        self._judge: SilenceJudge[Identity] = SilenceJudge(silent_s, _PERIOD_S + _PATIENCE_S)
        self._heard_at: dict[Identity, float] = {}
        self._silent: set[Identity] = set()

    async def watch(self) -> None:
        """Ping the other edges and claim the stranded calls of silent ones, for ever."""
        while True:
            await asyncio.sleep(_PERIOD_S)
            silent = await self._silent_edges()
            for edge in silent - self._silent:
                _log.warning("edge_silent", edge=str(edge), seconds=round(self._judge.silence_s(edge), 1))
            self._silent = silent
            for edge in silent:
                try:
                    await self._claims.claim_stranded(edge)
                except StoreUnavailable as error:
                    _log.warning("claim_failed", edge=str(edge), error=str(error))

    async def _silent_edges(self) -> set[Identity]:
        now = asyncio.get_running_loop().time
        live = self._edges.live
        self._heard_at = {edge: self._heard_at.get(edge, now()) for edge in live}
        for edge, has_answered in zip(live, await asyncio.gather(*map(self._ping, live)), strict=True):
            if has_answered:
                self._heard_at[edge] = now()
        return self._judge.observe(self._heard_at, now())

    async def _ping(self, edge: Identity) -> bool:
        client = self._edges.client(edge)
        return client is not None and await client.answers(_PATIENCE_S)
