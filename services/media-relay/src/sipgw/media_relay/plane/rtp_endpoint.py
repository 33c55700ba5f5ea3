"""RtpEndpoint: the sockets of one call's media.

The lobby socket is unconnected: it learns who the caller is, counts strangers and sees rebinds. Once
latched, a second socket on the same port is connected to the caller: the kernel gives it the caller's
packets alone, and sending and receiving cost half. The lobby is bound exclusively first, so that a taken
port is noticed; both allow sharing only while the second one is bound, so that no other process can join
them.
"""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from sipgw.media_relay.ports.port_pool import Barred, PortPair
    from sipgw.rtp.source_latch import Source

_MOST_EARLY = 64
"""Datagrams that slipped in between bind and connect."""


class RtpEndpoint:
    """Sockets and addresses of one call. `remote` is where RTP goes: the SDP's address until the latch
    says.
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
        """Give `source` a socket of its own; gives what had come to it before it was connected.

        Raises OSError when the kernel won't: the lobby goes on serving then.
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
        if self.connected is not None:
            self.connected.close()
            self.connected = None

    def release(self, heard: Barred | None = None) -> PortPair:
        """Return the pair of ports of a call that is over, with whom its caller was `heard` as."""
        self.pair.end_call(heard, self.connected)
        self.connected = None
        return self.pair

    def sender(self) -> Callable[[Any], object] | None:
        """What sends an RTP datagram to the caller; None while nobody knows where the caller is."""
        if self.connected is not None:
            return self.connected.send
        if self.remote is None:
            return None
        send_to, address = self.pair.rtp.sendto, _address(self.pair.rtp, self.remote)
        return lambda datagram: send_to(datagram, address)

    def send_rtcp(self, datagram: bytes, *, is_muxed: bool) -> None:
        """Send a report, by the RTP port when both share it. Losing one is no harm."""
        with contextlib.suppress(OSError):
            if is_muxed:
                if (send := self.sender()) is not None:
                    send(datagram)
            elif self.remote_rtcp is not None:
                self.pair.rtcp.sendto(datagram, _address(self.pair.rtcp, self.remote_rtcp))


def _address(sender: socket.socket, source: Source) -> tuple[str, int]:
    """As the sender's family writes it: a socket of both families has IPv4 inside IPv6."""
    is_mapped = sender.family == socket.AF_INET6 and ":" not in source.host
    return (f"::ffff:{source.host}" if is_mapped else source.host, source.port)


def _share(*sockets: socket.socket, allowed: int) -> None:
    for each in sockets:
        each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, allowed)
