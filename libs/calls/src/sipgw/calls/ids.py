"""Call ids: what Redis keys, bots, relays and logs know a call by. 128 bits, 32 hexadecimal digits."""

import hashlib
import secrets
from typing import Final

_ID_BYTES: Final = 16


def call_id_for(sip_call_id: str, from_tag: str, key: bytes) -> str:
    """The id of an inbound call: a keyed hash, so that every edge computes the same and no peer can choose
    it.

    `from_tag` may carry more of what tells the call from others (the edge adds the CSeq). `key` is the
    gateway's shared secret, at most 64 bytes.
    """
    text = sip_call_id.encode()
    hashed = hashlib.blake2b(len(text).to_bytes(4, "big") + text, digest_size=_ID_BYTES, key=key)
    hashed.update(from_tag.encode())
    return hashed.hexdigest()


def random_call_id() -> str:
    """The id of an outbound call."""
    return secrets.token_hex(_ID_BYTES)
