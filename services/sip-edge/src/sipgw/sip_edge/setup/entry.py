"""Admit a new INVITE: authenticate its trunk, and take a place in the set-up window. Nothing is saved yet."""

from typing import NamedTuple

from sipgw.api.config.v1 import config_pb2 as config
from sipgw.sip import RequestReceived
from sipgw.sip_edge import metrics
from sipgw.sip_edge.call.routing import NO_TRUNK
from sipgw.sip_edge.call.setup_window import Setup, SetupWindow
from sipgw.sip_edge.errors import Rejected
from sipgw.sip_edge.guard.authentication import Authentication
from sipgw.sip_edge.guard.call_rates import CallRates
from sipgw.sip_edge.guard.ledger import StrangerLedger


class Entered(NamedTuple):
    """A call that may be set up."""

    trunk: config.Trunk | None
    setup: Setup


class Entry:
    """Admits new INVITEs: `enter` with each, `leave` when its set-up is over."""

    def __init__(
        self,
        authentication: Authentication,
        ledger: StrangerLedger,
        window: SetupWindow,
        retry_after: tuple[tuple[str, str], ...],
    ) -> None:
        self._authentication = authentication
        self._ledger = ledger
        self._window = window
        self._rates = CallRates()
        self._retry_after = retry_after

    async def enter(self, gateway: config.GatewayConfig, event: RequestReceived, now: float) -> Entered:
        """Admit an INVITE.

        Raises Rejected with the response to one that is not admitted, StoreUnavailable as `trunk_of` does.
        """
        trunk = await self._authentication.trunk_of(gateway, event)
        if trunk is None and gateway.trunks:
            raise NO_TRUNK
        if trunk is not None and not self._rates.take(trunk, now):
            metrics.OVER_CALL_RATE.labels(trunk.name).inc()
            raise Rejected(503, "Trunk Call Rate Reached", headers=self._retry_after)
        is_stranger = not self._ledger.is_exempt(event.source.host, now)
        setup = self._window.enter(now, is_stranger=is_stranger)
        if setup is None:
            metrics.OVERLOADED.inc()
            raise Rejected(503, "Overloaded", headers=self._retry_after)
        return Entered(trunk, setup)

    def leave(self, setup: Setup, now: float) -> None:
        """Give the place in the window back, unless the call has been set up."""
        setup.done(now, is_set_up=False)
        metrics.SETUP_WINDOW.set(self._window.size)
