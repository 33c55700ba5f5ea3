"""Give a call whose bot does not come the next fallback bot of its route, on the same relay and ports.

The record alone decides which bot is next, so an edge that takes the call over goes on in the same order.
"""

from collections.abc import Callable

from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.api.config.v1 import config_pb2 as config
from sipgw.config.matching import rank_fallback_bots
from sipgw.sip_edge.call.live_calls import LiveCall
from sipgw.sip_edge.gateway_config import ConfigHolder
from sipgw.sip_edge.record import bots
from sipgw.sip_edge.record.records import CallRecords


class Fallbacks:
    """Choose fallback bots. The choice is saved before it is acted upon."""

    def __init__(self, records: CallRecords, gateway: ConfigHolder, now_ms: Callable[[], int]) -> None:
        self._records = records
        self._gateway = gateway
        self._now_ms = now_ms

    async def choose_next(
        self, live: LiveCall, record: calls.CallSession, why: str, limit_ms: int
    ) -> calls.CallSession | None:
        """Save the next bot, and while the call rings a new deadline; None if there is no other bot.

        Raises CallOver, StoreUnavailable.
        """
        route = self._gateway.route(record.route)
        failed = record.bot.endpoint
        chosen = next_endpoint(route, record.call_id, failed) if route is not None else None
        if chosen is None:
            return None
        saved = await self._records.update(
            live.call_id,
            lambda draft: bots.fall_back(
                draft, failed=failed, chosen=chosen, ringing_until_ms=self._now_ms() + limit_ms
            ),
            as_owner=True,
            known=record,
        )
        live.await_bot_again()
        live.log.warning("bot_fallback", failed=failed, next=chosen, reason=why)
        return saved


def next_endpoint(route: config.Route, call_id: str, current: str) -> str | None:
    """Give the next fallback bot in the order that the call id determines; each is tried once."""
    order = [bot.endpoint for bot in rank_fallback_bots(route, call_id)]
    after = order.index(current) + 1 if current in order else 0
    return order[after] if after < len(order) else None
