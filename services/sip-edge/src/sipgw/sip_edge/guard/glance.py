"""What can be told of a datagram by a few searches, before it is parsed: may it be of something that lives?

A glance never takes what is of a live call for noise. The other way round does no harm: what it lets through
is parsed, and looked at again.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

_HEAD_BYTES: Final = 32_768
"""No message with a longer head is served."""
_OUR_TAG = re.compile(rb"tag\s*=\s*([0-9a-f]{32})")
_CALL_ID = re.compile(rb"\n(?:call-id|i)\s*:\s*(\S+)", re.IGNORECASE)
_BRANCH = re.compile(rb"branch\s*=\s*(z9hg4bk-[^\s;,>]+)", re.IGNORECASE)


class Look(Enum):
    """What a datagram looks like."""

    OF_A_CALL = "of a call"
    """A request in a call that lives here, its ACK or CANCEL, or a response that is awaited here."""
    PROVED = "proved"
    """An INVITE whose password this gateway has asked for: only a look at the password tells more."""
    ELSEWHERE = "elsewhere"
    """It may be of a call that another edge has, or that has just ended."""
    INVITE = "invite"
    """An INVITE that proves nothing."""
    NOTHING = "nothing"
    """No message of any call: another request, or no SIP."""


@dataclass(frozen=True, slots=True)
class LiveNames:
    """By what names this edge knows what lives on it."""

    has_call: Callable[[str], bool]
    """By the call id that our tag begins with."""
    has_invite: Callable[[str], bool]
    """By Call-ID: an INVITE that is being answered."""
    has_request: Callable[[str], bool]
    """By branch: a request of ours that waits for a response."""
    has_challenged: Callable[[bytes, bytes, str], bool]
    """By the head of an INVITE, the same in small letters, and its host: it answers our challenge."""


class Glance:
    """Looks at the octets alone, at a few microseconds a datagram."""

    def __init__(self, names: LiveNames) -> None:
        self._names = names

    def look(self, data: bytes, host: str) -> Look:
        """Tell what a datagram from a host may be."""
        head = data[:_HEAD_BYTES].lstrip(b"\r\n")
        if head[:4].upper() == b"SIP/":
            return self._response(head)
        lowered = head.lower()
        is_elsewhere = False
        for tag in _OUR_TAG.finditer(lowered):
            if self._names.has_call(tag[1].decode()):
                return Look.OF_A_CALL
            is_elsewhere = True
        if is_elsewhere:
            return Look.ELSEWHERE
        if head.startswith((b"ACK ", b"CANCEL ")):
            return self._of_invite(head)
        if not head.startswith(b"INVITE "):
            return Look.NOTHING
        is_proved = b"\nauthorization" in lowered and self._names.has_challenged(head, lowered, host)
        return Look.PROVED if is_proved else Look.INVITE

    def _response(self, head: bytes) -> Look:
        branch = _BRANCH.search(head)
        if branch is None:
            return Look.NOTHING
        is_awaited = self._names.has_request(branch[1].decode("latin-1"))
        return Look.OF_A_CALL if is_awaited else Look.ELSEWHERE

    def _of_invite(self, head: bytes) -> Look:
        call_id = _CALL_ID.search(head)
        if call_id is None:
            return Look.NOTHING
        is_open = self._names.has_invite(call_id[1].decode("utf-8", "replace"))
        return Look.OF_A_CALL if is_open else Look.ELSEWHERE
