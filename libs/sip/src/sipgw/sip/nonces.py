"""Nonces of digest challenges that any edge can check: a time and a MAC, nothing remembered.

A nonce is good for one request: the next one (CSeq + 1) of the same Call-ID, From-tag and source within its
life. A copy of that request is a retransmission to whoever keeps calls by these names, and no second call, as
long as they are kept for longer than a nonce lives. That is the replay check; the nonce count adds nothing.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from dataclasses import dataclass
from enum import Enum
from typing import Final

NONCE_LIFE_MS: Final = 30_000
_TIME_BYTES, _MAC_BYTES = 6, 18


class NonceState(Enum):
    """What a nonce is to the request that brings it."""

    FRESH = "fresh"
    STALE = "stale"
    """Ours and too old, or of another request, or never ours: ask again."""


@dataclass(frozen=True, slots=True)
class NoncePurpose:
    """The request that a nonce is for. `cseq` is that of the request that is challenged."""

    realm: str
    source: str
    call_id: str
    from_tag: str
    cseq: int

    @property
    def of_challenged(self) -> NoncePurpose:
        """Of the request before this one, which got the challenge."""
        return NoncePurpose(self.realm, self.source, self.call_id, self.from_tag, self.cseq - 1)


def make_nonce(key: bytes, purpose: NoncePurpose, now_ms: int) -> str:
    """For the challenge of the request that `purpose` names."""
    time = now_ms.to_bytes(_TIME_BYTES)
    return base64.urlsafe_b64encode(time + _mac(key, purpose, time)).decode()


def check_nonce(key: bytes, nonce: str, purpose: NoncePurpose, now_ms: int) -> NonceState:
    """`purpose` names the request that brings the nonce."""
    try:
        data = base64.urlsafe_b64decode(nonce.encode("ascii"))
    except (binascii.Error, ValueError):
        return NonceState.STALE
    time, mac = data[:_TIME_BYTES], data[_TIME_BYTES:]
    if not hmac.compare_digest(mac, _mac(key, purpose.of_challenged, time)):
        return NonceState.STALE
    age_ms = now_ms - int.from_bytes(time)
    return NonceState.FRESH if -NONCE_LIFE_MS < age_ms <= NONCE_LIFE_MS else NonceState.STALE


def _mac(key: bytes, purpose: NoncePurpose, time: bytes) -> bytes:
    names = (purpose.realm, purpose.source, purpose.call_id, purpose.from_tag, str(purpose.cseq))
    parts = [name.encode("utf-8", "surrogateescape") for name in names]
    text = b"".join(len(part).to_bytes(4) + part for part in (time, *parts))
    return hmac.digest(key, text, "sha256")[:_MAC_BYTES]
