"""The protection against strangers as a whole: ledger, screen and door, and its lists for people."""

import asyncio
from collections.abc import Callable

from sipgw.api.config.v1 import config_pb2 as config
from sipgw.api.edge.v1 import edge_pb2 as edge
from sipgw.config.matching import digest_trunks, vouched_networks
from sipgw.runtime.telemetry.logs import get_logger
from sipgw.sip import TransactionLayer
from sipgw.sip_edge import metrics
from sipgw.sip_edge.gateway_config import ConfigHolder
from sipgw.sip_edge.guard.authentication import Authentication
from sipgw.sip_edge.guard.bans import Ban
from sipgw.sip_edge.guard.door import Door
from sipgw.sip_edge.guard.glance import LiveNames
from sipgw.sip_edge.guard.ledger import Kind, StrangerLedger
from sipgw.sip_edge.guard.screen import Screen
from sipgw.sip_edge.guard.sources import Networks, read_source
from sipgw.sip_edge.settings import EdgeSettings
from sipgw.sip_edge.sip.local_tags import LocalTags

_log = get_logger("sipgw.sip_edge.strangers")


class StrangerGuard:
    """Makes the screen for the transaction layer and the door for the server; holds their ledger."""

    def __init__(
        self,
        settings: EdgeSettings,
        gateway: ConfigHolder,
        has_call: Callable[[str], bool],
        now_ms: Callable[[], int],
    ) -> None:
        """`has_call` tells whether this edge serves a call, by its id."""
        self._trusted = settings.trusted
        self._gateway = gateway
        self._has_call = has_call
        self._now_ms = now_ms
        self._loop = asyncio.get_running_loop()
        self._has_banned = False
        self.ledger = StrangerLedger(settings.limits.strangers, Networks(settings.trusted), self._banned)
        metrics.BANNED.set_function(lambda: len(self.ledger.bans.in_force(self._loop.time())))

    def take_config(self, gateway: config.GatewayConfig) -> None:
        """Exempt the sources of the config's trunks."""
        asks_passwords = bool(digest_trunks(gateway))
        networks = vouched_networks(gateway)
        self.ledger.take_trunks(networks, self._loop.time(), asks_passwords=asks_passwords)

    def note_proof(self, host: str) -> None:
        """Exempt the source of a right password for a while."""
        self.ledger.note_proof(host, self._loop.time())

    def screen(self, authentication: Authentication) -> Screen:
        """Make the screen of the transaction layer."""
        return Screen(self.ledger, authentication, lambda: self._gateway.current, self._has_call)

    def door(self, layer: TransactionLayer, authentication: Authentication, tags: LocalTags) -> Door:
        """Make the door of the server."""

        def has_challenged(head: bytes, lowered: bytes, host: str) -> bool:
            current = self._gateway.current if self.ledger.asks_passwords else None
            if current is None:
                return False
            return authentication.has_challenged(current, head, lowered, host)

        names = LiveNames(
            self._has_call, layer.has_invite, layer.has_request, has_challenged, tags.may_be_ours
        )
        return Door(self.ledger, names)

    def list_bans(self) -> list[edge.Ban]:
        """List the bans in force, for people."""
        return [
            edge.Ban(
                source=ban.source,
                reason=ban.reason,
                since_ms=self._wall_ms(ban.since),
                until_ms=self._wall_ms(ban.until),
                refused=ban.refused,
            )
            for ban in self.ledger.bans.in_force(self._loop.time())
        ]

    def lift(self, source: str) -> bool:
        """Lift a source's ban; False: it is not banned. Raises ValueError for text that is no source."""
        is_lifted = self.ledger.lift(read_source(source), self._loop.time())
        if is_lifted:
            _log.info("ban_lifted", source=source)
        return is_lifted

    def _banned(self, ban: Ban, kind: Kind) -> None:
        metrics.BANS.labels(kind).inc()
        hint = {} if self._has_banned else {"hint": self._hint(ban.source)}
        self._has_banned = True
        length_s = round(ban.until - ban.since)
        _log.warning("source_banned", source=ban.source, reason=ban.reason, seconds=length_s, **hint)

    def _hint(self, source: str) -> str:
        if self._trusted:
            return f"if you know it: `sipgw up --trust {source}`, or put it into sourceCidrs of a SipTrunk"
        return "if you know it: put it into sourceCidrs of a SipTrunk"

    def _wall_ms(self, at: float) -> int:
        return self._now_ms() + round((at - self._loop.time()) * 1000)
