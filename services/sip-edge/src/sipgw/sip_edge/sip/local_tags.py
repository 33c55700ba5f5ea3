"""Our tags: the id of their call, a random part, and a MAC with a key that all edges share (ADR 0016).

Any edge recognises by the MAC, without Redis, a tag that no edge has made.
"""

import hashlib
import hmac
import secrets
from collections.abc import Awaitable, Callable
from typing import Final

_RANDOM_BYTES, _MAC_BYTES = 4, 4
_RANDOM_DIGITS, _MAC_DIGITS = 2 * _RANDOM_BYTES, 2 * _MAC_BYTES
_UNMARKED_S: Final = 86_400.0
"""How long after this edge's start a tag without a MAC may be ours: earlier releases made such tags."""


class LocalTags:
    """Makes our tags, and recognises those of every edge.

    A tag is `<call id>.<8 random digits><8 digits of the MAC>`, all hexadecimal.
    """

    def __init__(self, key: Callable[[], Awaitable[bytes]], clock_s: Callable[[], float]) -> None:
        """Take `key`, which gives the key that all edges share, of at most 32 octets."""
        self._key = key
        self._known_key: bytes | None = None
        self._clock_s = clock_s
        self._unmarked_until_s = clock_s() + _UNMARKED_S

    async def learn_key(self) -> bytes:
        """Get the key. Raises StoreUnavailable."""
        self._known_key = await self._key()
        return self._known_key

    async def make(self, call_id: str) -> str:
        """Make a new tag for a call. Raises StoreUnavailable until the key is known."""
        key = await self.learn_key()
        start = f"{call_id}.{secrets.token_hex(_RANDOM_BYTES)}"
        return start + _mac(key, start)

    def may_be_ours(self, call_id: str, rest: str) -> bool:
        """Tell whether an edge may have made the tag `<call_id>.<rest>`, two parts in hexadecimal digits.

        Every tag of this form may be ours while the key is not known.
        """
        if len(rest) == _RANDOM_DIGITS:
            return self._clock_s() < self._unmarked_until_s
        if len(rest) != _RANDOM_DIGITS + _MAC_DIGITS:
            return False
        random, mac = rest[:_RANDOM_DIGITS], rest[_RANDOM_DIGITS:]
        key = self._known_key
        return key is None or hmac.compare_digest(mac, _mac(key, f"{call_id}.{random}"))


def _mac(key: bytes, start: str) -> str:
    return hashlib.blake2s(start.encode(), key=key, digest_size=_MAC_BYTES).hexdigest()
