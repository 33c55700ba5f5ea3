"""What a nonce is checked with, read from an INVITE by searches instead of the parser: a few microseconds.

Whoever folds lines or quotes oddly is not read here and has to be parsed.
"""

import re
from typing import Final

from sipgw.sip.nonces import NoncePurpose

_MOST_NONCES: Final = 4
_NONCE = re.compile(rb'[\s,]nonce\s*=\s*"([^"\r\n]{1,128})"', re.IGNORECASE)
_CALL_ID = re.compile(rb"\n(?:call-id|i)[ \t]*:[ \t]*([^\r\n]+)", re.IGNORECASE)
_FROM_TAG = re.compile(rb"\n(?:from|f)[ \t]*:[^\r\n]*?;[ \t]*tag[ \t]*=[ \t]*([^\s;,]+)", re.IGNORECASE)
_CSEQ = re.compile(rb"\ncseq[ \t]*:[ \t]*([0-9]{1,10})[ \t]", re.IGNORECASE)


def read_purpose(head: bytes, realm: str, source: str) -> NoncePurpose | None:
    """The request that a nonce in it has to be for; None when its names are not found."""
    call_id, from_tag, cseq = _CALL_ID.search(head), _FROM_TAG.search(head), _CSEQ.search(head)
    if call_id is None or from_tag is None or cseq is None:
        return None
    return NoncePurpose(realm, source, _text(call_id[1]), _text(from_tag[1]), int(cseq[1]))


def read_nonces(head: bytes) -> list[str]:
    """The first few nonces of an INVITE."""
    return [_text(nonce) for nonce in _NONCE.findall(head)[:_MOST_NONCES]]


def _text(octets: bytes) -> str:
    return octets.strip().decode("utf-8", "replace")
