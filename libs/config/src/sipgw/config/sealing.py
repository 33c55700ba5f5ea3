"""Sealing of secret values in the config (AES-256-GCM), so that Redis and the registry see no password.

The key is a file mounted by the operator and the edges. The nonce is an HMAC of the value, so that equal
documents give equal configs; two values share a nonce only when they are equal.
"""

import hashlib
import hmac
import secrets
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sipgw.api.config.v1 import config_pb2 as pb

MIN_KEY_BYTES = 32
_ID_BYTES, _NONCE_BYTES = 4, 12


class SealBroken(Exception):
    """The value was sealed with another key or for another purpose, or was changed."""


class SealKey:
    """A key that seals and unseals; ``material`` is at least 32 random bytes. Purposes can't be exchanged."""

    def __init__(self, material: bytes) -> None:
        if len(material) < MIN_KEY_BYTES:
            raise ValueError(
                f"the seal key has {len(material)} bytes; it needs at least {MIN_KEY_BYTES} random ones"
            )
        self._cipher = AESGCM(_derived(b"cipher", material))
        self._nonce_key = _derived(b"nonce", material)
        self._id = _derived(b"id", material)[:_ID_BYTES]

    @classmethod
    def from_file(cls, path: Path) -> "SealKey":
        """Read the key. Raises OSError, and ValueError for a key that is too short."""
        return cls(path.read_bytes().strip())

    @classmethod
    def random(cls) -> "SealKey":
        """Draw a key."""
        return cls(secrets.token_bytes(MIN_KEY_BYTES))

    def seal(self, value: bytes, purpose: str) -> bytes:
        """Seal a value for a purpose."""
        nonce = hmac.digest(self._nonce_key, purpose.encode() + b"\0" + value, "sha256")[:_NONCE_BYTES]
        return self._id + nonce + self._cipher.encrypt(nonce, value, purpose.encode())

    def unseal(self, sealed: bytes, purpose: str) -> bytes:
        """Return the value. Raises SealBroken."""
        key_id, rest = sealed[:_ID_BYTES], sealed[_ID_BYTES:]
        if key_id != self._id:
            raise SealBroken("sealed with another key")
        try:
            return self._cipher.decrypt(rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], purpose.encode())
        except (InvalidTag, ValueError) as error:
            raise SealBroken("encrypted for another purpose, or altered") from error


def seal_password(password: bytes, trunk_name: str, seal_key: SealKey) -> bytes:
    """Seal the password of a trunk with ``digest``."""
    return seal_key.seal(password, _purpose(trunk_name))


def unseal_password(trunk: pb.Trunk, seal_key: SealKey) -> bytes:
    """Return the password of a trunk with ``digest``. Raises SealBroken."""
    return seal_key.unseal(trunk.digest.sealed_password, _purpose(trunk.name))


def _purpose(trunk_name: str) -> str:
    return f"trunk {trunk_name} digest"


def _derived(use: bytes, material: bytes) -> bytes:
    return hashlib.sha256(b"sipgw seal\0" + use + b"\0" + material).digest()
