"""Limit the concurrent calls of the gateway and of each route's bots (`limits.maxCalls`).

This edge counts its own calls exactly, and asks the registry for those of other edges at most five times a
second. So a single edge keeps a limit exactly, and several exceed it by at most the calls they admit in a
fifth of a second.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Final

from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.api.config.v1 import config_pb2 as config
from sipgw.api.registry.v1 import registry_pb2 as registry
from sipgw.config.matching import rank_fallback_bots
from sipgw.control import ControlError
from sipgw.runtime.telemetry.logs import get_logger
from sipgw.sip_edge.call.routing import RouteDecision
from sipgw.sip_edge.errors import Rejected

_log = get_logger("sipgw.sip_edge.call_limits")
_FRESH_S: Final = 0.2
_WAIT_S: Final = 0.2
"""Callers wait no longer for the count of a registry that does not respond; then the last count is used."""
Count = Callable[[], Awaitable[registry.CountCallsResponse]]


@dataclass(slots=True)
class _Elsewhere:
    """The calls of the other edges, as the registry last counted them."""

    live: int = 0
    by_bot: dict[str, int] = field(default_factory=dict[str, int])
    asked_s: float = float("-inf")


class CallLimits:
    """Checks limits when a call arrives, before it has a record."""

    def __init__(
        self,
        owned: Callable[[], Collection[calls.CallSession]],
        count_elsewhere: Count,
        retry_after: tuple[tuple[str, str], ...],
    ) -> None:
        self._owned = owned
        self._count_elsewhere = count_elsewhere
        self._retry_after = retry_after
        self._entering: Counter[str] = Counter()
        self._elsewhere = _Elsewhere()
        self._asking: asyncio.Task[None] | None = None

    async def check_gateway(self, max_calls: int) -> None:
        """Check the gateway's limit. Raises Rejected(503)."""
        if max_calls:
            await self._refresh()
            if self._elsewhere.live + len(self._owned()) + self._entering.total() >= max_calls:
                raise Rejected(503, "Call Limit Reached", headers=self._retry_after)

    async def within(self, decision: RouteDecision, call_id: str) -> RouteDecision:
        """Give the decision, or one for a fallback bot if the route is full. Raises Rejected(503)."""
        route = decision.route
        if not route.max_calls:
            return decision
        await self._refresh()
        if self._calls_of(route) < route.max_calls:
            return decision
        fallback = rank_fallback_bots(route, call_id)
        if not fallback:
            raise Rejected(503, "Route Is Full", headers=self._retry_after)
        return replace(decision, bot=fallback[0])

    @contextmanager
    def entering(self, decision: RouteDecision | None) -> Generator[None]:
        """Count the call while the block makes its record."""
        key = _key(decision.route.name, decision.bot.endpoint) if decision is not None else ""
        self._entering[key] += 1
        try:
            yield
        finally:
            self._entering[key] -= 1

    def _calls_of(self, route: config.Route) -> int:
        """Count the calls of the route's own bots; calls of fallback bots do not count."""
        endpoints = {bot.endpoint for bot in route.bots}
        keys = {_key(route.name, endpoint) for endpoint in endpoints}
        own = sum(one.route == route.name and one.bot.endpoint in endpoints for one in self._owned())
        others = sum(self._elsewhere.by_bot.get(key, 0) for key in keys)
        return own + others + sum(self._entering[key] for key in keys)

    async def _refresh(self) -> None:
        if asyncio.get_running_loop().time() - self._elsewhere.asked_s < _FRESH_S:
            return
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask(), name="count calls elsewhere")
        with suppress(TimeoutError):
            async with asyncio.timeout(_WAIT_S):
                await asyncio.shield(self._asking)

    async def _ask(self) -> None:
        """Ask the registry. Without it the last count stays, and this edge still counts its own calls."""
        asked_s = asyncio.get_running_loop().time()
        try:
            counts = await self._count_elsewhere()
        except ControlError as error:
            _log.warning("calls_not_counted", error=str(error))
            self._elsewhere.asked_s = asked_s
        else:
            self._elsewhere = _Elsewhere(counts.live_elsewhere, dict(counts.by_bot_elsewhere), asked_s)


def _key(route: str, endpoint: str) -> str:
    """Make the key under which the registry counts a route's calls."""
    return f"{route}/{endpoint}"
