"""Decide about a new request before it has a transaction: take it, drop it, or refuse it statelessly.

A stranger's request that can only be refused gets one response and is forgotten (RFC 3261 §8.2.7, §26.3.2.4):
no place in a window, no record, no Redis. A forged source gets no more than one response for each request.
"""

import hashlib
import secrets
from collections.abc import Callable
from typing import Final

from sipgw.api.config.v1 import config_pb2 as config
from sipgw.config.matching import digest_trunks, match_trunk
from sipgw.runtime.telemetry.logs import get_logger
from sipgw.sip import Address, Screening, SipRequest, SipResponse
from sipgw.sip_edge import metrics
from sipgw.sip_edge.call.routing import NO_TRUNK
from sipgw.sip_edge.errors import Rejected
from sipgw.sip_edge.guard.authentication import Authentication
from sipgw.sip_edge.guard.budgets import Rate
from sipgw.sip_edge.guard.ledger import Kind, StrangerLedger
from sipgw.sip_edge.sip.identifiers import call_id_of_tag
from sipgw.sip_edge.sip.responses import rejection_response

_log = get_logger("sipgw.sip_edge.strangers")
_KINDS: Final = {kind.value: kind for kind in (Kind.INVITE, Kind.OPTIONS, Kind.REGISTER)}
_LINES_PER_S: Final = 1.0
_LINES_AT_ONCE: Final = 20.0


class Screen:
    """Screens requests for the transaction layer."""

    def __init__(
        self,
        ledger: StrangerLedger,
        authentication: Authentication,
        gateway: Callable[[], config.GatewayConfig | None],
        has_call: Callable[[str], bool],
    ) -> None:
        self._ledger = ledger
        self._authentication = authentication
        self._gateway = gateway
        self._has_call = has_call
        self._tag_key = secrets.token_bytes(16)
        self._lines = Rate(_LINES_PER_S, _LINES_AT_ONCE)

    def __call__(self, request: SipRequest, source: Address, now: float) -> Screening | SipResponse:
        """Decide about a request that belongs to no transaction."""
        host = source.host
        if self._ledger.is_exempt(host, now) or request.method == "CANCEL":
            return Screening.TAKE
        call_id = call_id_of_tag(request.to.tag)
        if call_id is not None:
            if not self._has_call(call_id):
                self._ledger.note(host, Kind.STRAY, now)
            return Screening.TAKE
        is_new = self._ledger.is_new(host)
        is_let_in = self._ledger.note(host, _KINDS.get(request.method, Kind.OTHER_REQUEST), now)
        gateway = self._gateway()
        if gateway is None or request.method != "INVITE" or request.to.tag is not None:
            return Screening.TAKE if is_let_in else Screening.DROP
        trunk = match_trunk(gateway, host)
        if trunk is None and digest_trunks(gateway):
            return self._unproved(gateway, request, host)
        if not is_let_in:
            return Screening.DROP
        if trunk is not None or not gateway.trunks:
            return Screening.TAKE
        if is_new and self._lines.take(now):
            _log.info("stranger_refused", source=f"{host}:{source.port}", reason=NO_TRUNK.reason)
        return self._refuse(request, NO_TRUNK)

    def _unproved(
        self, gateway: config.GatewayConfig, request: SipRequest, host: str
    ) -> Screening | SipResponse:
        """Challenge an INVITE, banned or not; one that responds to a challenge is checked further."""
        challenge = self._authentication.challenge_of(gateway, request, host)
        return Screening.TAKE if challenge is None else self._refuse(request, challenge)

    def _refuse(self, request: SipRequest, rejected: Rejected) -> SipResponse:
        metrics.RESPONSES.labels(request.method, rejected.status).inc()
        return rejection_response(request, rejected, to_tag=self._tag_of(request))

    def _tag_of(self, request: SipRequest) -> str:
        """Make the To tag of a stateless response.

        It is the same for each copy of the request (RFC 3261 §8.2.7).
        """
        names = f"{request.call_id}\0{request.cseq.number}\0{request.via.branch}\0{request.from_.tag}"
        text = names.encode("utf-8", "surrogateescape")
        return hashlib.blake2b(text, key=self._tag_key, digest_size=8).hexdigest()
