"""Edges and relays as values: from the record and to it; and which edge takes what, by rendezvous hashing."""

import hashlib
from collections.abc import Iterable

from sipgw.api.calls.v1.session_pb2 import ProcessIdentity
from sipgw.runtime.settings import Identity


def identity_of(record: ProcessIdentity) -> Identity:
    """The identity that a record names."""
    return Identity(record.name, record.incarnation)


def to_record(identity: Identity) -> ProcessIdentity:
    """The identity as a record holds it."""
    return ProcessIdentity(name=identity.name, incarnation=identity.incarnation)


def rendezvous_owner(key: str, candidates: Iterable[Identity]) -> Identity | None:
    """Which of `candidates` takes `key`: all that see the same ones agree, and losing one moves only its
    keys.

    None when there is no candidate.
    """
    return max(candidates, key=lambda candidate: _weight(key, candidate), default=None)


def _weight(key: str, candidate: Identity) -> bytes:
    return hashlib.blake2b(
        f"{key}\n{candidate.name}\n{candidate.incarnation}".encode(), digest_size=8
    ).digest()
