"""Identifiers that name their owner (docs/explanation/state-and-ownership.md).

Our To tag begins with the call id (`local_tags` makes it), our branches with the edge's name.
"""

import itertools
import re
import secrets
from collections.abc import Callable

CALL_ID_LENGTH = 32
MAGIC_COOKIE = "z9hG4bK"
_CALL_ID = re.compile(r"[0-9a-f]{32}")
_UNSAFE = re.compile(r"[^A-Za-z0-9.-]")


def call_id_of_tag(tag: str | None) -> str | None:
    """Give the call id that a tag of ours begins with; None for any other tag."""
    head = (tag or "")[:CALL_ID_LENGTH]
    return head if _CALL_ID.fullmatch(head) else None


def branch_tokens(edge: str) -> Callable[[], str]:
    """Make unique tokens for the branches of this edge's requests, each beginning with the edge's name."""
    prefix = f"{_safe(edge)}-{secrets.token_hex(4)}"
    numbers = itertools.count(1)
    return lambda: f"{prefix}-{next(numbers):x}"


def edge_of_branch(branch: str) -> str | None:
    """Give the (safe) name of the edge that made a branch; None if no edge made it."""
    head, dash, rest = branch.partition("-")
    edge, _, unique = rest.rpartition("-")
    edge, _, _ = edge.rpartition("-")
    return edge if head == MAGIC_COOKIE and dash and edge and unique else None


def is_branch_of(branch: str, edge: str) -> bool:
    """Tell whether `edge` made `branch`."""
    return edge_of_branch(branch) == _safe(edge)


def invite_call_key(from_tag: str, cseq: int) -> str:
    """Make the key that, with the Call-ID, finds the call of an INVITE.

    Its CANCEL, its retransmissions and other edges need it. It contains the CSeq: a caller that tries again
    with the same Call-ID and the next CSeq (RFC 3261 §8.1.3.5) makes another call, which must not meet the
    first call's tombstone or the relay's fence.
    """
    return f"{from_tag};{cseq}"


def _safe(edge: str) -> str:
    return _UNSAFE.sub(".", edge)
