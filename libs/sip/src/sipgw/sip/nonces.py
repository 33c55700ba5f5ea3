"""Nonces of digest challenges that any edge can check without remembering them: a time and two MACs.

The first MAC is short and covers the source alone. It tells a made-up nonce from one that was sent to this
source, before anything else of the request is read. It is BLAKE2s, which takes a quarter of the time of HMAC
on a text this short. The second covers the request.

A nonce is good for one request: the next one (CSeq + 1) of the same Call-ID, From-tag and source within its
life. A copy of that request is a retransmission, not a second call, as long as calls are kept by these names
for longer than a nonce lives. This replaces a replay check by nonce count.
"""

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass
from enum import Enum
from typing import Final

NONCE_LIFE_MS: Final = 30_000
_TIME_BYTES, _SOURCE_BYTES, _REQUEST_BYTES = 6, 4, 17  # 27 in all: no padding in base64
_SOURCE_END: Final = _TIME_BYTES + _SOURCE_BYTES
NONCE_LENGTH: Final = (_SOURCE_END + _REQUEST_BYTES) * 4 // 3
_STANDARD: Final = bytes.maketrans(b"-_", b"+/")


class NonceState(Enum):
    """Whether a nonce authenticates the request that carries it."""

    FRESH = "fresh"
    STALE = "stale"
    """Ours but too old, or for another request, or never ours: challenge again."""


@dataclass(frozen=True, slots=True)
class NoncePurpose:
    """The request that a nonce is for. `cseq` is that of the request that is challenged."""

    realm: str
    source: str
    call_id: str
    from_tag: str
    cseq: int


def make_nonce(key: bytes, purpose: NoncePurpose, now_ms: int) -> str:
    """Make the nonce that challenges the request named by `purpose`."""
    time = now_ms.to_bytes(_TIME_BYTES)
    made = time + _source_mac(key, purpose.source, time) + _request_mac(key, purpose, purpose.cseq, time)
    return base64.urlsafe_b64encode(made).decode()


def check_nonce(key: bytes, nonce: str, purpose: NoncePurpose, now_ms: int) -> NonceState:
    """Judge the nonce of a request; `purpose` names the request that brings it."""
    data = _octets(nonce.encode("utf-8", "surrogateescape"))
    if not _is_for_source(key, data, purpose.source, now_ms):
        return NonceState.STALE
    expected = _request_mac(key, purpose, purpose.cseq - 1, data[:_TIME_BYTES])
    is_for_request = hmac.compare_digest(data[_SOURCE_END:], expected)
    return NonceState.FRESH if is_for_request else NonceState.STALE


def may_be_fresh(key: bytes, nonce: bytes, source: str, now_ms: int) -> bool:
    """Return whether a nonce, as it came, was made lately for a source.

    Ask this first: it costs less than `check_nonce`.
    """
    return _is_for_source(key, _octets(nonce), source, now_ms)


def _octets(nonce: bytes) -> bytes:
    if len(nonce) != NONCE_LENGTH:
        return b""
    try:
        return binascii.a2b_base64(nonce.translate(_STANDARD))
    except binascii.Error:
        return b""


def _is_recent(time: bytes, now_ms: int) -> bool:
    return -NONCE_LIFE_MS < now_ms - int.from_bytes(time) <= NONCE_LIFE_MS


def _is_for_source(key: bytes, data: bytes, source: str, now_ms: int) -> bool:
    time, mac = data[:_TIME_BYTES], data[_TIME_BYTES:_SOURCE_END]
    return _is_recent(time, now_ms) and hmac.compare_digest(mac, _source_mac(key, source, time))


def _source_mac(key: bytes, source: str, time: bytes) -> bytes:
    octets = time + source.encode("utf-8", "surrogateescape")
    return hashlib.blake2s(octets, key=key, digest_size=_SOURCE_BYTES).digest()


def _request_mac(key: bytes, purpose: NoncePurpose, cseq: int, time: bytes) -> bytes:
    """Compute the MAC over the challenged request.

    Its CSeq is one lower than that of the request that answers the challenge.
    """
    parts: list[bytes] = [len(time).to_bytes(4), time]
    for name in (purpose.realm, purpose.source, purpose.call_id, purpose.from_tag, str(cseq)):
        octets = name.encode("utf-8", "surrogateescape")
        parts += (len(octets).to_bytes(4), octets)
    return hmac.digest(key, b"".join(parts), "sha256")[:_REQUEST_BYTES]
