"""RtpSweep: reads calls' sockets, one packet of each socket a round, into rows of one array.

There are two epolls: connected sockets (hot: the callers' RTP, as columns) and the rest (cold: lobbies and
RTCP, one by one, a bounded number a tick), so that strangers who flood a lobby harm no call.
"""

import operator
import select
import socket
from collections.abc import Callable, Iterator
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt

SLOT: Final = 2048
"""A datagram that fills the slot was longer; no audio packet is."""
_ROUND: Final = 2048
"""The most packets of one round."""
_COLD_A_TICK: Final = 64
_FDS: Final = 1 << 16

# Calls its first argument with the second, in C.
_call = cast("Callable[[Callable[[Any], int], memoryview], int]", operator.call)


class RtpSweep:
    """The sockets of all calls. A socket is registered once, and unregistered before it is closed."""

    def __init__(self) -> None:
        self._hot = select.epoll()
        self._cold = select.epoll()
        self._row_of_fd = np.zeros(_FDS, np.int32)
        self._receive_of_fd: dict[int, Callable[[Any], int]] = {}
        self._cold_of_fd: dict[int, Callable[[], None]] = {}
        self.datagrams = np.zeros((_ROUND, SLOT), np.uint8)
        self._views = [row.data for row in self.datagrams]

    def add_hot(self, connected: socket.socket, row: int) -> None:
        """Read the call's connected socket from now on."""
        fd = connected.fileno()
        self._row_of_fd[fd] = row
        self._receive_of_fd[fd] = connected.recv_into
        self._hot.register(fd, select.EPOLLIN)

    def remove_hot(self, connected: socket.socket) -> None:
        """Read the connected socket no more."""
        fd = connected.fileno()
        self._hot.unregister(fd)
        del self._receive_of_fd[fd]

    def add_cold(self, each: socket.socket, handler: Callable[[], None]) -> None:
        """Register a socket whose datagrams `handler` reads, one a call."""
        self._cold_of_fd[each.fileno()] = handler
        self._cold.register(each.fileno(), select.EPOLLIN)

    def remove_cold(self, each: socket.socket) -> None:
        """Read the socket no more."""
        self._cold.unregister(each.fileno())
        del self._cold_of_fd[each.fileno()]

    def hot_rounds(self, most: int) -> Iterator[tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]]:
        """Yield rows (all different) and lengths of the packets now in `datagrams[:n]`.

        A length is -1 where reading failed.
        """
        for _ in range(most):
            ready = self._hot.poll(0, _ROUND)
            if not ready:
                return
            fds = [fd for fd, _ in ready]
            receive_of_fd = self._receive_of_fd
            lengths = self._read([receive_of_fd[fd] for fd in fds])
            yield self._row_of_fd[fds], np.array(lengths, np.int32)

    def sweep_cold(self) -> None:
        """Let cold sockets' handlers read in turns of one datagram each, a bounded number in all."""
        left = _COLD_A_TICK
        while left and (ready := self._cold.poll(0, left)):
            left -= len(ready)
            for fd, _ in ready:
                handler = self._cold_of_fd.get(fd)  # an earlier one of this turn may have removed it
                if handler is not None:
                    handler()

    def close(self) -> None:
        """Close both epolls."""
        self._hot.close()
        self._cold.close()

    def _read(self, receives: list[Callable[[Any], int]]) -> list[int]:
        """Call each with its slot. The interpreter's own loop does it; an error costs one packet only."""
        lengths: list[int] = []
        calls = map(_call, receives, self._views)
        while True:
            try:
                lengths.extend(calls)
            except OSError:
                lengths.append(-1)  # an ICMP error of an earlier send
            else:
                return lengths
