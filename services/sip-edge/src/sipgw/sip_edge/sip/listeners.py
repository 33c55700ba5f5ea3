"""A UDP socket of the edge that reads many datagrams at a time and never blocks when it sends.

A datagram that does not fit into the kernel's buffer is dropped and counted; SIP retransmits it.
"""

import asyncio
import socket
from collections.abc import Callable

from sipgw.runtime.errors import StartupError
from sipgw.runtime.settings import HostPort
from sipgw.sip import Address
from sipgw.sip_edge import metrics

_MAX_DATAGRAM = 65535
_DRAIN = 64
_BUFFER_BYTES = 8 << 20
_KEEP_ALIVE = b"\r\n\r\n"
UDP = "UDP"


async def refusal_of(destination: Address) -> None:
    """Return when an ICMP error says that nothing listens at a UDP address, or that there is no way to it.

    A socket that is not connected hears of no ICMP error, so a keep-alive (RFC 5626 §3.5.1 names the form) is
    sent from one that is. Without an error this never returns.
    """
    refused = asyncio.Event()
    probe: asyncio.DatagramTransport | None = None
    try:
        probe, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: _Probe(refused), remote_addr=(destination.host, destination.port)
        )
        probe.sendto(_KEEP_ALIVE)
        await refused.wait()
    except OSError:
        return
    finally:
        if probe is not None:
            probe.close()


class _Probe(asyncio.DatagramProtocol):
    """Sets an event at the first error of its socket."""

    def __init__(self, refused: asyncio.Event) -> None:
        self._refused = refused

    def error_received(self, exc: Exception) -> None:
        del exc
        self._refused.set()


class UdpListener:
    """A socket that is bound when made and read from `start` on."""

    def __init__(self, listen: HostPort) -> None:
        family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.setblocking(False)  # noqa: FBT003 - the standard library's own
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
        try:
            self._socket.bind((listen.host, listen.port))
        except OSError as error:
            self._socket.close()
            raise StartupError(f"can't listen for SIP on {listen}/udp: {error.strerror or error}") from error
        host, port = self._socket.getsockname()[:2]
        self.address = Address(UDP, host, port)

    def start(
        self,
        admits: Callable[[bytes, str], bool],
        on_datagram: Callable[[bytes, Address], None],
        on_drained: Callable[[int], None],
    ) -> None:
        """Read datagrams from now on.

        `on_datagram` gets those that `admits` accepts; `on_drained` gets their number after each batch.
        """
        self._admits = admits
        self._on_datagram = on_datagram
        self._on_drained = on_drained
        asyncio.get_running_loop().add_reader(self._socket.fileno(), self._drain)

    def stop_reading(self) -> None:
        """Stop reading datagrams; sending still works."""
        asyncio.get_running_loop().remove_reader(self._socket.fileno())

    def send(self, data: bytes, destination: Address) -> None:
        """Send a datagram now, or drop and count it."""
        try:
            self._socket.sendto(data, (destination.host, destination.port))
        except BlockingIOError:
            metrics.DATAGRAMS_DROPPED.labels("buffer_full").inc()
        except OSError:  # unreachable, too long or no address: the transaction's timers handle it
            metrics.DATAGRAMS_DROPPED.labels("send_failed").inc()

    def close(self) -> None:
        """Stop reading and close the socket."""
        self.stop_reading()
        self._socket.close()

    def _drain(self) -> None:
        read = admitted = 0
        for _ in range(_DRAIN):
            try:
                data, source = self._socket.recvfrom(_MAX_DATAGRAM)
            except (BlockingIOError, InterruptedError):
                break
            except OSError:  # an ICMP error caused by an earlier send
                continue
            read += 1
            if self._admits(data, source[0]):
                admitted += 1
                self._on_datagram(data, Address(UDP, source[0], source[1]))
        metrics.DATAGRAMS_RECEIVED.inc(read)
        self._on_drained(admitted)
