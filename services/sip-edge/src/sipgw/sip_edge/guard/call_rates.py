"""Limit how many calls a trunk may begin in a second (`limits.callsPerSecond`).

Each edge counts by itself.
"""

from sipgw.api.config.v1 import config_pb2 as config
from sipgw.sip_edge.guard.budgets import Rate


class CallRates:
    """A token bucket for each trunk with a limit; the calls of a second may come at once."""

    def __init__(self) -> None:
        self._rates: dict[str, tuple[int, Rate]] = {}

    def take(self, trunk: config.Trunk, now: float) -> bool:
        """Count one more call of a trunk; False: that exceeds its limit."""
        limit = trunk.calls_per_second
        if not limit:
            self._rates.pop(trunk.name, None)
            return True
        known = self._rates.get(trunk.name)
        if known is None or known[0] != limit:
            known = self._rates[trunk.name] = (limit, Rate(limit, limit))
        return known[1].take(now)
