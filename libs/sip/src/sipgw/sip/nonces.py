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


def make_nonce(key: bytes, purpose: NoncePurpose, now_ms: int) -> str:
    """For the challenge of the request that `purpose` names."""
    time = now_ms.to_bytes(_TIME_BYTES)
    return base64.urlsafe_b64encode(time + _mac(key, purpose, purpose.cseq, time)).decode()


def check_nonce(key: bytes, nonce: str, purpose: NoncePurpose, now_ms: int) -> NonceState:
    """`purpose` names the request that brings the nonce."""
    data = _octets(nonce)
    time, mac = data[:_TIME_BYTES], data[_TIME_BYTES:]
    if not _is_recent(time, now_ms) or not hmac.compare_digest(
        mac, _mac(key, purpose, purpose.cseq - 1, time)
    ):
        return NonceState.STALE
    return NonceState.FRESH


def may_be_fresh(nonce: str, now_ms: int) -> bool:
    """Whether a nonce says that it was made lately: asked first, since it costs less than `check_nonce`."""
    return _is_recent(_octets(nonce)[:_TIME_BYTES], now_ms)


def _octets(nonce: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(nonce.encode("ascii"))
    except (binascii.Error, ValueError):
        return b""


def _is_recent(time: bytes, now_ms: int) -> bool:
    return -NONCE_LIFE_MS < now_ms - int.from_bytes(time) <= NONCE_LIFE_MS


def _mac(key: bytes, purpose: NoncePurpose, cseq: int, time: bytes) -> bytes:
    """Of the request that is challenged: its CSeq is one lower than that of the request with the answer."""
    parts: list[bytes] = [len(time).to_bytes(4), time]
    for name in (purpose.realm, purpose.source, purpose.call_id, purpose.from_tag, str(cseq)):
        octets = name.encode("utf-8", "surrogateescape")
        parts += (len(octets).to_bytes(4), octets)
    return hmac.digest(key, b"".join(parts), "sha256")[:_MAC_BYTES]
