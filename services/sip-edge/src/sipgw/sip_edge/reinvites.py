"""Our re-INVITE of a call that changes its relay, and what its answer means (RFC 3261 §14.1).

The record names CSeq, branch and offer before it is sent: whoever sends it again sends a retransmission.
"""

import random
from dataclasses import dataclass
from typing import Final, TypeAlias

from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.sip import SipResponse
from sipgw.sip_edge.dialogs import LocalContact, own_ack, own_invite
from sipgw.sip_edge.server import SipServer

_NO_ANSWER: Final = 408
_GONE: Final = frozenset({481})
_GLARE: Final = 491
_BUSY: Final = 500
"""With Retry-After: an offer of the peer's met ours (§14.2)."""
_GLARE_PAUSE_S: Final = 2.0
"""Who did not make the Call-ID waits up to so long: the peer, who did, waits longer than this."""
_LONGEST_PAUSE_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Answered:
    """2xx; it wants its ACK."""

    response: SipResponse

    @property
    def status(self) -> int:
        return self.response.status


@dataclass(frozen=True, slots=True)
class NotNow:
    """Worth another try after a while."""

    status: int
    retry_after_s: float


@dataclass(frozen=True, slots=True)
class Gone:
    """The peer knows the call no more."""

    status: int


@dataclass(frozen=True, slots=True)
class Refused:
    """Any other answer; 408 also for none."""

    status: int


Outcome: TypeAlias = Answered | NotNow | Gone | Refused


class Reinvites:
    """Sends what the record's move says."""

    def __init__(self, sip: SipServer, local: LocalContact) -> None:
        self._sip = sip
        self._local = local

    def new_branch(self) -> str:
        """For the record, before anything is sent."""
        return self._sip.new_branch()

    async def send(self, session: calls.CallSession, *, patience_s: float) -> Outcome:
        """The outcome of the re-INVITE."""
        own = own_invite(session, self._local)
        response = await self._sip.invite(own.request, own.destination, patience_s=patience_s)
        return _outcome(response)

    def acknowledge(self, session: calls.CallSession) -> None:
        """The ACK of its 2xx, now and for each copy of it. The record has the target that the 2xx named."""
        ack = own_ack(session, self._local, self._sip.new_branch())
        self._sip.acknowledge(own_invite(session, self._local).request, ack.request, ack.destination)


def _outcome(response: SipResponse | None) -> Outcome:
    status = response.status if response is not None else _NO_ANSWER
    if response is not None and response.is_success:
        return Answered(response)
    if status in _GONE:
        return Gone(status)
    if status == _GLARE:
        return NotNow(status, random.randrange(int(_GLARE_PAUSE_S * 100)) / 100)
    wait_s = _retry_after_s(response)
    if status == _BUSY and wait_s is not None:
        return NotNow(status, min(wait_s, _LONGEST_PAUSE_S))
    return Refused(status)


def _retry_after_s(response: SipResponse | None) -> float | None:
    text = (response.headers.get("Retry-After") or "") if response is not None else ""
    number = text.split(";")[0].split("(")[0].strip()
    return float(number) if number.isdecimal() else None
