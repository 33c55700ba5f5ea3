"""Call ids: 128 bits, 32 hexadecimal digits, the name of a call in Redis, bots, relays and logs."""

import hashlib
import secrets
from typing import Final

_ID_BYTES: Final = 16


def call_id_for(sip_call_id: str, from_tag: str, key: bytes) -> str:
    """Return the id of an inbound call, a keyed hash.

    Every edge computes the same id and no peer can choose it. `from_tag` may carry more that tells the call
    from others (the edge adds the CSeq). `key` is the gateway's shared secret, at most 64 bytes.
    """
    text = sip_call_id.encode()
    hashed = hashlib.blake2b(len(text).to_bytes(4, "big") + text, digest_size=_ID_BYTES, key=key)
    hashed.update(from_tag.encode())
    return hashed.hexdigest()


def random_call_id() -> str:
    """Return a random id for an outbound call."""
    return secrets.token_hex(_ID_BYTES)
