"""RtpEndpoint: the sockets of one call's media.

The lobby socket is unconnected: it learns the caller's address, counts strangers and notices rebinds. Once
latched, a second socket on the same port is connected to the caller: the kernel gives it the caller's packets
only, and sending and receiving cost half. The lobby is first bound exclusively, so that a taken port is
noticed. Both allow sharing only while the second one is bound, so that no other process can join them.
"""

import contextlib
import socket
from collections.abc import Callable
from typing import Any

from sipgw.media_relay.ports.port_pool import Barred, PortPair
from sipgw.rtp.source_latch import Source

_MOST_EARLY = 64
"""The most datagrams taken that came between bind and connect."""


class RtpEndpoint:
    """The sockets and addresses of one call.

    `remote` is where RTP goes: the SDP's address until a source has latched.
    """

    def __init__(self, pair: PortPair, remote: Source | None, remote_rtcp: Source | None) -> None:
        self.pair = pair
        self.remote = remote
        self.remote_rtcp = remote_rtcp
        self.connected: socket.socket | None = None

    def send_to(self, remote: Source | None, remote_rtcp: Source | None) -> None:
        """Send RTP and RTCP to these addresses from now on."""
        self.remote, self.remote_rtcp = remote, remote_rtcp

    def send_reports_to(self, remote_rtcp: Source | None) -> None:
        """Send RTCP to this address from now on."""
        self.remote_rtcp = remote_rtcp

    def connect(self, source: Source) -> list[tuple[bytes, Any]]:
        """Connect a socket to `source`; return the datagrams that it received before.

        Raises OSError when the kernel refuses: the lobby then goes on serving.
        """
        self.disconnect()
        self.remote = source
        lobby = self.pair.rtp
        hot = socket.socket(lobby.family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            size = lobby.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
            hot.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size // 2)
            _share(lobby, hot, allowed=1)
            hot.bind(lobby.getsockname())
            hot.connect(_address(lobby, source))
        except OSError:
            hot.close()
            raise
        finally:
            _share(lobby, allowed=0)
        _share(hot, allowed=0)
        early: list[tuple[bytes, Any]] = []
        with contextlib.suppress(OSError):
            while len(early) < _MOST_EARLY:
                early.append(hot.recvfrom(2048))
        self.connected = hot
        return early

    def disconnect(self) -> None:
        """Close the connected socket, if there is one."""
        if self.connected is not None:
            self.connected.close()
            self.connected = None

    def release(self, heard: Barred | None = None) -> PortPair:
        """Return the ports of an ended call, marked with the source and SSRC that were heard on them."""
        self.pair.end_call(heard, self.connected)
        self.connected = None
        return self.pair

    def sender(self) -> Callable[[Any], object] | None:
        """Return what sends an RTP datagram to the caller; None while the caller's address is unknown."""
        if self.connected is not None:
            return self.connected.send
        if self.remote is None:
            return None
        send_to, address = self.pair.rtp.sendto, _address(self.pair.rtp, self.remote)
        return lambda datagram: send_to(datagram, address)

    @property
    def connected_fd(self) -> int:
        """The descriptor of the connected socket; -1: there is none."""
        return -1 if self.connected is None else self.connected.fileno()

    def send_rtcp(self, datagram: bytes, *, is_muxed: bool) -> None:
        """Send a report, from the RTP port where both share it. A lost report does no harm."""
        with contextlib.suppress(OSError):
            if is_muxed:
                if (send := self.sender()) is not None:
                    send(datagram)
            elif self.remote_rtcp is not None:
                self.pair.rtcp.sendto(datagram, _address(self.pair.rtcp, self.remote_rtcp))


def _address(sender: socket.socket, source: Source) -> tuple[str, int]:
    """Write an address for the sender's family: a dual-stack socket has IPv4 inside IPv6."""
    is_mapped = sender.family == socket.AF_INET6 and ":" not in source.host
    return (f"::ffff:{source.host}" if is_mapped else source.host, source.port)


def _share(*sockets: socket.socket, allowed: int) -> None:
    for each in sockets:
        each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, allowed)
