"""What a nonce is checked with, read from an INVITE by searches instead of the parser: a few microseconds.

Whoever folds lines or quotes oddly is not read here and has to be parsed.
"""

import re
from typing import Final

from sipgw.sip.nonces import NoncePurpose

_MOST_NONCES: Final = 4
_NONCE = re.compile(rb'nonce\s*=\s*"([^"\r\n]{1,128})"')
_CALL_ID = re.compile(rb"\n(?:call-id|i)[ \t]*:[ \t]*([^\r\n]+)")
_FROM_TAG = re.compile(rb"\n(?:from|f)[ \t]*:[^\r\n]*?;[ \t]*tag[ \t]*=[ \t]*([^\s;,]+)")
_CSEQ = re.compile(rb"\ncseq[ \t]*:[ \t]*([0-9]{1,10})[ \t]")


def read_purpose(head: bytes, lowered: bytes, realm: str, source: str) -> NoncePurpose | None:
    """The request that a nonce in it has to be for; None when its names are not found."""
    call_id, from_tag, cseq = (pattern.search(lowered) for pattern in (_CALL_ID, _FROM_TAG, _CSEQ))
    if call_id is None or from_tag is None or cseq is None:
        return None
    return NoncePurpose(realm, source, _text(head, call_id), _text(head, from_tag), int(cseq[1]))


def read_nonces(head: bytes, lowered: bytes) -> list[str]:
    """The first few nonces of an INVITE, without cnonces."""
    found: list[str] = []
    for match in _NONCE.finditer(lowered):
        if lowered[match.start() - 1] != ord("c"):
            found.append(_text(head, match))
            if len(found) == _MOST_NONCES:
                break
    return found


def _text(head: bytes, match: re.Match[bytes]) -> str:
    """Group 1 as it was written: searches go by small letters, as names of headers may be large ones."""
    return head[match.start(1) : match.end(1)].strip().decode("utf-8", "replace")
