"""Ports below the ephemeral range: no outgoing socket takes one between our look and our use."""

import random
import socket

# `sipgw up` takes its own above. Single ports stand apart: scattered among the ranges they would leave no
# room for one.
_SINGLES = range(10_000, 13_000)
_RANGES = range(13_000, 20_000)
_handed_out: set[int] = set()


def free_port() -> int:
    """A port free for UDP and TCP on all addresses; nobody else's in this run."""
    return _find(1, _SINGLES)


def free_range(size: int) -> int:
    """The first, even port of `size` free ones in a row."""
    return _find(size, _RANGES)


def _find(size: int, among: range) -> int:
    starts = range(among.start, among.stop - size, 2)
    for first in random.sample(starts, len(starts)):
        ports = range(first, first + size)
        if _handed_out.isdisjoint(ports) and all(_is_free(port) for port in ports):
            _handed_out.update(ports)
            return first
    raise RuntimeError(f"no {size} free ports in a row between {among.start} and {among.stop}")


def give_back(first: int, size: int) -> None:
    """What held them has ended: others may have them."""
    _handed_out.difference_update(range(first, first + size))


def _is_free(port: int) -> bool:
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            try:
                probe.bind(("0.0.0.0", port))
            except OSError:
                return False
    return True
