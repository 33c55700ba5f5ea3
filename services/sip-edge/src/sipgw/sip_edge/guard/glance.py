"""Tell by a few searches, before a datagram is parsed, whether it may belong to a live call.

What belongs to a live call is never taken for noise. The opposite error is harmless: such a datagram is
parsed and checked again.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

_HEAD_BYTES: Final = 32_768
"""Messages with a longer head are not served."""
_OUR_TAG = re.compile(rb"tag\s*=\s*([0-9a-f]{32})\.([0-9a-f]{8,16})")
_CALL_ID = re.compile(rb"\n(?:call-id|i)\s*:\s*(\S+)", re.IGNORECASE)
_BRANCH = re.compile(rb"branch\s*=\s*(z9hg4bk-[^\s;,>]+)", re.IGNORECASE)


class Look(Enum):
    """The kind of a datagram, judged at first sight."""

    OF_A_CALL = "of a call"
    """A request within a live call of this edge, its ACK or CANCEL, or a response that this edge
    waits for.
    """
    PROVED = "proved"
    """An INVITE that responds to a challenge of this gateway; its password has yet to be checked."""
    ELSEWHERE = "elsewhere"
    """It may belong to a call of another edge, or to one that has just ended."""
    INVITE = "invite"
    """An INVITE without such a response."""
    NOTHING = "nothing"
    """It belongs to no call: another request, or no SIP at all."""


@dataclass(frozen=True, slots=True)
class LiveNames:
    """Tells which calls and transactions live at this edge, by the names that messages give them."""

    has_call: Callable[[str], bool]
    """Whether a call lives here, by the call id that our tag begins with."""
    has_invite: Callable[[str], bool]
    """Whether an INVITE waits for its final response, by Call-ID."""
    has_request: Callable[[str], bool]
    """Whether a request of ours waits for its final response, by branch."""
    has_challenged: Callable[[bytes, bytes, str], bool]
    """Whether an INVITE responds to our challenge, by its head, its head in lower case, and its host."""
    may_be_ours: Callable[[str, str], bool]
    """Whether an edge of this gateway may have made a tag, by its call id and the rest."""


class Glance:
    """Judges octets alone, in a few microseconds for a datagram."""

    def __init__(self, names: LiveNames) -> None:
        self._names = names

    def look(self, data: bytes, host: str) -> Look:
        """Judge the kind of a datagram from a host."""
        head = data[:_HEAD_BYTES].lstrip(b"\r\n")
        lowered = head.lower()
        if lowered.startswith(b"sip/"):
            return self._response(head)
        tags = _OUR_TAG.findall(lowered)
        if tags:
            found = self._of_tags(tags)
            if found is not Look.NOTHING:
                return found
        if head.startswith((b"ACK ", b"CANCEL ")):
            return self._of_invite(head, is_forged=bool(tags))
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

    def _of_tags(self, tags: list[tuple[bytes, bytes]]) -> Look:
        found = Look.NOTHING
        for tag in tags:
            call_id = tag[0].decode()
            if self._names.has_call(call_id):
                return Look.OF_A_CALL
            if self._names.may_be_ours(call_id, tag[1].decode()):
                found = Look.ELSEWHERE
        return found

    def _of_invite(self, head: bytes, *, is_forged: bool) -> Look:
        """Judge an ACK or CANCEL by its Call-ID.

        With a tag in the form of ours that no edge made, it belongs to no call of another edge.
        """
        call_id = _CALL_ID.search(head)
        if call_id is None:
            return Look.NOTHING
        if self._names.has_invite(call_id[1].decode("utf-8", "replace")):
            return Look.OF_A_CALL
        return Look.NOTHING if is_forged else Look.ELSEWHERE
