"""Send our re-INVITEs, for moves and target refreshes, and interpret their responses (RFC 3261 §14)."""

import random
from dataclasses import dataclass
from typing import Final, TypeAlias

from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.sip import SipResponse
from sipgw.sip_edge.record.reinviting import SavedInvite
from sipgw.sip_edge.sip.dialogs import Learn, own_ack, own_invite
from sipgw.sip_edge.sip.signalling import Signalling

_TIMED_OUT: Final = 408
_GONE: Final = frozenset({481})
_GLARE: Final = 491
_BUSY: Final = 500
"""With Retry-After: an offer of the peer crossed ours (RFC 3261 §14.2)."""
_GLARE_PAUSE_MS: Final = range(0, 2001, 10)
_OWNERS_GLARE_PAUSE_MS: Final = range(2100, 4001, 10)
"""Back off 2.1-4 s when we own the Call-ID, 0-2 s when the peer does (RFC 3261 §14.1)."""
_LONGEST_PAUSE_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Accepted:
    """A 2xx, which needs an ACK."""

    response: SipResponse

    @property
    def status(self) -> int:
        return self.response.status


@dataclass(frozen=True, slots=True)
class NotNow:
    """A response that asks to try again after a while."""

    status: int
    retry_after_s: float


@dataclass(frozen=True, slots=True)
class Gone:
    """The peer no longer knows the call."""

    status: int


@dataclass(frozen=True, slots=True)
class Refused:
    """Any other response; 408 also stands for no response."""

    status: int


Outcome: TypeAlias = Accepted | NotNow | Gone | Refused


class Reinvites:
    """Sends the re-INVITEs that records name."""

    def __init__(self, signalling: Signalling, learn: Learn) -> None:
        self._sip = signalling.sip
        self._ways = signalling.ways
        self._local = signalling.local
        self._learn = learn

    def new_branch(self) -> str:
        """Make a branch, which is saved in the record before the re-INVITE is sent."""
        return self._sip.new_branch()

    def contact(self, call_id: str) -> str:
        """Make the URI of our Contact for a call, as this edge gives it now."""
        return self._local.uri(call_id)

    def is_from_elsewhere(self, saved: SavedInvite, call_id: str) -> bool:
        """Tell whether an edge at another address sent it, so that it cannot be sent again from here."""
        return saved.contact not in {"", self.contact(call_id)}

    async def send(self, record: calls.CallSession, saved: SavedInvite, *, patience_s: float) -> Outcome:
        """Send the re-INVITE and give its outcome."""
        own = own_invite(record, saved, self._local)
        reply = await self._ways.invite(own.request, own.ways, patience_s=patience_s)
        if reply.by_second:
            await self._learn(record.call_id, record.legs[0].dialog.remote_target)
        return outcome_of(reply.response, is_owner=record.legs[0].direction == calls.LEG_DIRECTION_OUTBOUND)

    def acknowledge(self, record: calls.CallSession, saved: SavedInvite) -> None:
        """Send the ACK of its 2xx, now and for each repeated 2xx.

        It goes to the target that the record took from the 2xx.
        """
        ack = own_ack(record, saved.cseq, self._local, self._sip.new_branch())
        invite = own_invite(record, saved, self._local).request
        self._ways.acknowledge(invite, ack.request, ack.ways.first)

    def acknowledge_once(self, record: calls.CallSession, saved: SavedInvite) -> None:
        """Send an ACK for a re-INVITE that another edge sent.

        A caller that sent a 200 waits for it; any other ignores it.
        """
        ack = own_ack(record, saved.cseq, self._local, self._sip.new_branch())
        self._sip.send(ack.request, ack.ways.first)


def outcome_of(response: SipResponse | None, *, is_owner: bool) -> Outcome:
    """Interpret a final response; None: there was none. `is_owner`: we made the Call-ID."""
    status = response.status if response is not None else _TIMED_OUT
    if response is not None and response.is_success:
        return Accepted(response)
    if status in _GONE:
        return Gone(status)
    if status == _GLARE:
        return NotNow(status, random.choice(_OWNERS_GLARE_PAUSE_MS if is_owner else _GLARE_PAUSE_MS) / 1000)
    wait_s = _retry_after_s(response)
    if status == _BUSY and wait_s is not None:
        return NotNow(status, min(wait_s, _LONGEST_PAUSE_S))
    return Refused(status)


def _retry_after_s(response: SipResponse | None) -> float | None:
    text = (response.headers.get("Retry-After") or "") if response is not None else ""
    number = text.split(";")[0].split("(")[0].strip()
    return float(number) if number.isdecimal() else None
