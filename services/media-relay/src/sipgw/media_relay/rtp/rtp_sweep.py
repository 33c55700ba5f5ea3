"""RtpSweep: the sockets of all calls, in two epolls.

The connected sockets are hot: a kernel reads the callers' RTP from them. The rest are cold (lobbies and
RTCP): they are read one by one, a bounded number a tick, so that strangers who flood a lobby harm no call.
"""

import select
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sipgw.media_relay.kernels.sockets import EPOLL_EVENT

_READY: Final = 2048
"""The most sockets that a round reads."""
_COLD_A_TICK: Final = 64
_FDS: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class HotSockets:
    """The input of the receiving kernel: an epoll's descriptor, its event array, the row of each socket."""

    epoll: int
    ready: npt.NDArray[Any]
    row_of_fd: npt.NDArray[np.int32]


class RtpSweep:
    """The sockets of all calls. A socket is registered once, and unregistered before it is closed."""

    def __init__(self) -> None:
        self._hot = select.epoll()
        self._cold = select.epoll()
        self._cold_of_fd: dict[int, Callable[[], None]] = {}
        self.hot = HotSockets(self._hot.fileno(), np.zeros(_READY, EPOLL_EVENT), np.zeros(_FDS, np.int32))

    def add_hot(self, connected: socket.socket, row: int) -> None:
        """Read the call's connected socket from now on."""
        self.hot.row_of_fd[connected.fileno()] = row
        self._hot.register(connected.fileno(), select.EPOLLIN)

    def remove_hot(self, connected: socket.socket) -> None:
        """Read the connected socket no more."""
        self._hot.unregister(connected.fileno())

    def add_cold(self, each: socket.socket, handler: Callable[[], None]) -> None:
        """Register a socket whose datagrams `handler` reads, one a call."""
        self._cold_of_fd[each.fileno()] = handler
        self._cold.register(each.fileno(), select.EPOLLIN)

    def remove_cold(self, each: socket.socket) -> None:
        """Read the socket no more."""
        self._cold.unregister(each.fileno())
        del self._cold_of_fd[each.fileno()]

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
