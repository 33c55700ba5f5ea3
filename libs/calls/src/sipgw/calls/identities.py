"""Edges and relays as values, converted from and to the record; and rendezvous hashing over edges."""

import hashlib
from collections.abc import Iterable

from sipgw.api.calls.v1.session_pb2 import ProcessIdentity
from sipgw.runtime.settings import Identity


def identity_of(record: ProcessIdentity) -> Identity:
    """Return the identity that a record names."""
    return Identity(record.name, record.incarnation)


def to_record(identity: Identity) -> ProcessIdentity:
    """Return the identity as a record holds it."""
    return ProcessIdentity(name=identity.name, incarnation=identity.incarnation)


def rendezvous_owner(key: str, candidates: Iterable[Identity]) -> Identity | None:
    """Return the member of `candidates` that takes `key`; None when there is no candidate.

    All that see the same candidates agree, and losing one moves only its keys.
    """
    return max(candidates, key=lambda candidate: _weight(key, candidate), default=None)


def _weight(key: str, candidate: Identity) -> bytes:
    return hashlib.blake2b(
        f"{key}\n{candidate.name}\n{candidate.incarnation}".encode(), digest_size=8
    ).digest()
