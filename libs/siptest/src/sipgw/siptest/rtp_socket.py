"""Two UDP sockets on neighbouring ports, RTP even and RTCP odd, with the arrival time of datagrams.

The kernel's time stamp is used where there is one (Linux), so that a busy test process does not appear as
latency in its measurements.
"""

import asyncio
import socket
import struct
import time
from collections.abc import Callable
from contextlib import suppress

HostPort = tuple[str, int]
OnDatagram = Callable[[bytes, HostPort, float], None]

_SO_TIMESTAMPNS = 35  # Linux, all architectures that Python supports; the module has no constant for it
_TIMESPEC = struct.Struct("@qq")
_ATTEMPTS = 200
_RECEIVE_BUFFER = 1 << 20


def bind_port_pair(address: str) -> tuple[socket.socket, socket.socket]:
    """Return an RTP socket on a free even port and an RTCP socket on the next."""
    for _ in range(_ATTEMPTS):
        rtp = _open(address, 0)
        port = int(rtp.getsockname()[1])
        if port % 2 == 0:
            with suppress(OSError):
                return rtp, _open(address, port + 1)
        rtp.close()
    raise OSError(f"no two free UDP ports side by side on {address}")


def _open(address: str, port: int) -> socket.socket:
    result = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        result.setblocking(False)  # noqa: FBT003 - the standard library's
        result.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        with suppress(OSError):
            result.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        result.bind((address, port))
    except OSError:
        result.close()
        raise
    return result


class DatagramReader:
    """Calls `on_datagram(data, source, arrived_s)` for every datagram; `arrived_s` is monotonic time."""

    def __init__(self, sock: socket.socket, on_datagram: OnDatagram) -> None:
        self._socket = sock
        self._on_datagram = on_datagram
        asyncio.get_running_loop().add_reader(sock, self._read)

    def close(self) -> None:
        """Read what has arrived already, then close the socket."""
        self._read()
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()

    def _read(self) -> None:
        while True:
            try:
                data, ancillary, _, source = self._socket.recvmsg(2048, 64)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                continue  # an ICMP error of an earlier send: read on
            self._on_datagram(data, (source[0], source[1]), _arrival(ancillary))
            if self._socket.fileno() < 0:
                return


def _arrival(ancillary: list[tuple[int, int, bytes]]) -> float:
    now = time.monotonic()
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS and len(data) >= _TIMESPEC.size:
            seconds, nanoseconds = _TIMESPEC.unpack_from(data)
            waited = time.time() - (seconds + nanoseconds * 1e-9)
            return now - waited if 0.0 <= waited < 5.0 else now
    return now
