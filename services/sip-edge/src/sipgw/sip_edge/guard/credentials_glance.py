"""Read the fields that check a nonce from an INVITE by searches, without the parser, in a few microseconds.

An INVITE with folded lines or unusual quoting is not understood here and has to be parsed.
"""

import re
from typing import Final

from sipgw.sip.nonces import NONCE_LENGTH, NoncePurpose

_MOST_NONCES: Final = 4
_NONCE = re.compile(rb'nonce\s*=\s*"([a-z0-9_-]{%d})"' % NONCE_LENGTH)
_CALL_ID = re.compile(rb"\n(?:call-id|i)[ \t]*:[ \t]*([^\r\n]+)")
_FROM_TAG = re.compile(rb"\n(?:from|f)[ \t]*:[^\r\n]*?;[ \t]*tag[ \t]*=[ \t]*([^\s;,]+)")
_CSEQ = re.compile(rb"\ncseq[ \t]*:[ \t]*([0-9]{1,10})[ \t]")


def read_purpose(head: bytes, lowered: bytes, realm: str, source: str) -> NoncePurpose | None:
    """Read the request that a nonce in it has to be for; None if its headers are not found."""
    call_id, from_tag, cseq = (pattern.search(lowered) for pattern in (_CALL_ID, _FROM_TAG, _CSEQ))
    if call_id is None or from_tag is None or cseq is None:
        return None
    return NoncePurpose(realm, source, _text(head, call_id), _text(head, from_tag), int(cseq[1]))


def read_nonces(head: bytes, lowered: bytes) -> list[bytes]:
    """Read the first few nonces of an INVITE that have the form of ours, without cnonces."""
    found: list[bytes] = []
    for match in _NONCE.finditer(lowered):
        if lowered[match.start() - 1] != ord("c"):
            found.append(head[match.start(1) : match.end(1)])
            if len(found) == _MOST_NONCES:
                break
    return found


def _text(head: bytes, match: re.Match[bytes]) -> str:
    """Give group 1 as it was written.

    Searches run on lower case, because header names may be in upper case.
    """
    return head[match.start(1) : match.end(1)].strip().decode("utf-8", "replace")
