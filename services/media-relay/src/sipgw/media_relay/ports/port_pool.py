"""PortPool: pairs of UDP ports from the flags' range, the even one for RTP and the next for RTCP.

Pairs that have rested for 10 s are drawn at random, so that nobody can guess the next call's port. When there
is none, the pair that has rested the longest is used. A released pair stays bound, and is read, until it was
silent for a second: the next call never hears a sender of the last one. A sender that never stops does not
keep the port: each next call bars its address and SSRC until the port was silent. Ports that other programs
hold are skipped.
"""

import heapq
import random
import select
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from sipgw.media_relay.errors import PortRangeError
from sipgw.media_relay.ports.local_addresses import is_own_address
from sipgw.rtp.source_latch import Source

Barred = tuple[Source, int]  # with the SSRC

SILENT_S: Final = 1.0
RESTED_S: Final = 10.0
"""How long a released port rests. It is reused sooner only when no other is free."""
LONGEST_REST_S: Final = 30.0
"""The longest rest, so that a sender that never stops does not keep a port for ever."""
_MOST_BARRED: Final = 8
_MOST_READ: Final = 32
"""The most datagrams read from one resting socket in one sweep."""
_RECEIVE_BUFFER: Final = 256 * 1024
"""Enough to bridge a stall of a second."""


@dataclass(slots=True)
class PortPair:
    """Two bound, non-blocking sockets; `rtp_port` is even."""

    rtp_port: int
    rtp: socket.socket
    rtcp: socket.socket
    barred: tuple[Barred, ...] = ()
    """The sources that were heard here before and may still send."""
    heard: Barred | None = None
    """The source and SSRC of the call's own caller."""
    extra: list[socket.socket] = field(default_factory=list[socket.socket])
    """The call's connected sockets, which are read while resting."""

    @property
    def rtcp_port(self) -> int:
        """The port of RTCP."""
        return self.rtp_port + 1

    def end_call(self, heard: Barred | None, connected: socket.socket | None) -> None:
        """Keep the call's connected socket, to be read while resting, and the source that was heard."""
        self.heard = heard if heard is not None else self.heard
        if connected is not None:
            self.extra.append(connected)


@dataclass(slots=True)
class _Resting:
    pair: PortPair
    since_s: float
    heard_at_s: float


class PortPool:
    """Ports `low` to `high`, both included, on the address `bind`."""

    def __init__(self, bind: str, low: int, high: int, tokens: random.Random) -> None:
        """`tokens` draws the ports. Raises PortRangeError."""
        check_range(low, high)
        self._bind = bind
        self._family = _family_of(bind)
        self._tokens = tokens
        self._rested = list(range(low, high, 2))
        self._unrested: list[tuple[float, int]] = []
        """A heap of (time at which it has rested, RTP port)."""
        self._barred: dict[int, tuple[Barred, ...]] = {}
        self._resting: dict[int, _Resting] = {}
        """Resting pairs, by RTP port."""
        self._epoll = select.epoll()
        self._resting_by_fd: dict[int, tuple[_Resting, socket.socket]] = {}

    @property
    def free(self) -> int:
        """Pairs that can be given out now, as far as is known."""
        return len(self._rested) + len(self._unrested)

    @property
    def resting(self) -> int:
        """Pairs that rest after their call."""
        return len(self._resting)

    def move_to(self, bind: str) -> None:
        """Put pairs that are taken from now on on this address."""
        self._bind, self._family = bind, _family_of(bind)

    def probe(self) -> list[int]:
        """Return the RTP ports of pairs that other programs hold. Raises PortRangeError when all are held."""
        taken = [port for port in self._rested if (pair := self._open(port)) is None or _close(pair)]
        if len(taken) == len(self._rested):
            raise PortRangeError(
                f"every RTP port from {taken[0]} to {taken[-1] + 1} is taken or {self._bind} is no address "
                "of this machine: stop the programs that hold them, or give another --rtp-ports or --bind"
            )
        return taken

    def acquire(self, now_s: float) -> PortPair | None:
        """Return a pair for a call; None when no pair is free."""
        while self._unrested and self._unrested[0][0] <= now_s:
            self._rested.append(heapq.heappop(self._unrested)[1])
        return self._acquire_rested() or self._acquire_unrested()

    def _acquire_rested(self) -> PortPair | None:
        """Draw a rested port at random, moving drawn ports behind those that can still be drawn."""
        ports = self._rested
        for left in range(len(ports), 0, -1):
            drawn = self._tokens.randrange(left)
            ports[drawn], ports[left - 1] = ports[left - 1], ports[drawn]
            if (pair := self._take(ports[left - 1])) is not None:
                del ports[left - 1]
                return pair
        return None

    def _acquire_unrested(self) -> PortPair | None:
        self._unrested.sort()  # still a heap, and in the order of rest
        for number, (_, port) in enumerate(self._unrested):
            if (pair := self._take(port)) is not None:
                del self._unrested[number]
                return pair
        return None

    def _take(self, port: int) -> PortPair | None:
        """Return the pair of this port; None if another program holds it just now."""
        pair = self._open(port)
        if pair is not None:
            pair.barred = self._barred.pop(port, ())
        return pair

    def release(self, pair: PortPair, now_s: float) -> None:
        """Let the pair of an ended call rest. It belongs to the pool from now on."""
        resting = _Resting(pair, now_s, now_s)
        self._resting[pair.rtp_port] = resting
        for each in _sockets(pair):
            self._resting_by_fd[each.fileno()] = (resting, each)
            self._epoll.register(each.fileno(), select.EPOLLIN)

    def sweep(self, now_s: float) -> None:
        """Read the datagrams at resting ports and free silent ports. Call this a few times a second."""
        for fd, _ in self._epoll.poll(0, 256):
            resting, each = self._resting_by_fd[fd]
            if _drain(each):
                resting.heard_at_s = now_s
        for port, resting in list(self._resting.items()):
            is_silent = now_s - resting.heard_at_s >= SILENT_S
            if is_silent or now_s - resting.since_s >= LONGEST_REST_S:
                del self._resting[port]
                self._forget(resting.pair)
                self._barred[port] = _barred_next(resting.pair, is_silent=is_silent)
                heapq.heappush(self._unrested, (resting.since_s + RESTED_S, port))

    def close(self) -> None:
        """Close all sockets."""
        for resting in self._resting.values():
            self._forget(resting.pair)
        self._resting.clear()
        self._epoll.close()

    def _forget(self, pair: PortPair) -> None:
        for each in _sockets(pair):
            self._resting_by_fd.pop(each.fileno(), None)
            self._epoll.unregister(each.fileno())
            each.close()

    def _open(self, port: int) -> PortPair | None:
        rtp = self._bound(port)
        if rtp is None:
            return None
        rtcp = self._bound(port + 1)
        if rtcp is None:
            rtp.close()
            return None
        return PortPair(port, rtp, rtcp)

    def _bound(self, port: int) -> socket.socket | None:
        """Bind a socket exclusively, so that a port held by anybody is noticed."""
        each = socket.socket(self._family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
            each.bind((self._bind, port))
        except OSError:
            each.close()
            return None
        return each


def bind_address(bind: str, advertise: str) -> str:
    """Return the address to bind ports on: the advertised one if it is this machine's, else `bind`.

    On "any" the kernel gives a connected socket the local address of the route to the caller, which need not
    be the advertised one: the caller may be on this machine, or on another of its networks. The socket would
    then get nothing that the caller sends to the address in the SDP, and would send from an address that the
    SDP does not name. Behind a NAT the advertised address is the router's, and packets come to one of ours.
    """
    return advertise if is_own_address(advertise) else bind


def _family_of(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def check_range(low: int, high: int) -> None:
    """Check the flags' port range. Raises PortRangeError with cause and cure."""
    if not 1024 <= low <= high <= 65535:
        raise PortRangeError(f"--rtp-ports {low}-{high}: ports must be 1024 to 65535, the lower one first")
    if low % 2:
        raise PortRangeError(
            f"--rtp-ports {low}-{high}: RTP takes even ports and RTCP the next, so the first must be even: "
            f"use {low + 1}-{high}"
        )
    if high - low < 1:
        raise PortRangeError(f"--rtp-ports {low}-{high}: a call needs two ports: use {low}-{low + 1} or more")


def _barred_next(pair: PortPair, *, is_silent: bool) -> tuple[Barred, ...]:
    """Return the sources that are barred from the port's next call.

    These are the last source, which may only have paused, and the earlier ones unless the port was silent.
    """
    if pair.heard is None:
        return pair.barred
    earlier = () if is_silent else pair.barred
    return (*earlier, pair.heard)[-_MOST_BARRED:]


def _sockets(pair: PortPair) -> Iterator[socket.socket]:
    yield pair.rtp
    yield pair.rtcp
    yield from pair.extra


def _close(pair: PortPair) -> bool:
    for each in _sockets(pair):
        each.close()
    return False


def _drain(each: socket.socket) -> bool:
    """Discard the datagrams that have arrived; return whether there were any."""
    heard = False
    for _ in range(_MOST_READ):
        try:
            each.recv(64)
        except BlockingIOError:
            break
        except OSError:
            continue  # an ICMP error of an earlier send: not from the peer's RTP
        heard = True
    return heard
