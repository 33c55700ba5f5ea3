"""Lobby: reads calls' unconnected sockets, and connects a socket to a caller once it is known.

Few datagrams come here: a caller's first ones, those of strangers, and RTCP.
"""

import struct
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from sipgw.media_relay.kernels.sockets import SLOT
from sipgw.media_relay.load.tick import TICK_S
from sipgw.media_relay.pipeline.stage import Tick
from sipgw.media_relay.plane.columns import Columns
from sipgw.media_relay.plane.leg import Leg, Legs
from sipgw.media_relay.plane.media_parameters import MediaParameters
from sipgw.media_relay.rtp.rtp_sweep import RtpSweep
from sipgw.rtp.packet import is_rtcp
from sipgw.rtp.source_latch import Arrival, Source, Verdict, canonical_host

_RTP_START: Final = struct.Struct("!BBHII")


class Lobby:
    """Latches calls to their callers, and counts strangers.

    `direct(row)` judges anew where the call's media goes. `started(row, source)` is told of the call's first
    packet.
    """

    def __init__(
        self,
        legs: Legs,
        columns: Columns,
        sweep: RtpSweep,
        direct: Callable[[int], None],
        started: Callable[[int, Source], None],
    ) -> None:
        self._legs = legs
        self._columns = columns
        self._sweep = sweep
        self._direct = direct
        self._started = started
        self._tick = Tick(0, 0.0)
        self._unproven: set[int] = set()
        """Rows that were connected to their SDP's address by its first packet alone."""
        self.strange = 0
        """Packets from sources other than the caller, of all calls."""

    def begin_tick(self, tick: Tick) -> None:
        """Note the time of the tick."""
        self._tick = tick

    def expect(self, row: int, media: MediaParameters) -> None:
        """Latch anew: the caller has announced another address."""
        leg = self._legs.of(row)
        self._disconnect(leg)
        self._unproven.discard(row)
        leg.latch.expect(media.remote, self._tick.at_s)
        leg.endpoint.send_to(media.remote, media.remote_rtcp)

    def close(self, row: int, leg: Leg) -> None:
        """Stop reading the call's sockets."""
        self._unproven.discard(row)
        self._sweep.remove_cold(leg.endpoint.pair.rtp)
        self._sweep.remove_cold(leg.endpoint.pair.rtcp)
        if leg.endpoint.connected is not None:
            self._sweep.remove_hot(leg.endpoint.connected)

    def read_rtcp(self, row: int) -> None:
        """Read one datagram of the call's RTCP socket."""
        leg = self._legs.of(row)
        try:
            datagram, address = leg.endpoint.pair.rtcp.recvfrom(SLOT)
        except OSError:
            return
        reports_to = leg.endpoint.remote_rtcp
        if leg.takes_rtcp(_source(address)):
            self._columns.reports.receive(row, datagram)
            if leg.endpoint.remote_rtcp != reports_to:
                self._direct(row)
        else:
            self._count_stranger(leg)

    def read_rtp(self, row: int) -> None:
        """Read one datagram of the call's unconnected RTP socket."""
        leg = self._legs.of(row)
        try:
            datagram, address = leg.endpoint.pair.rtp.recvfrom(SLOT)
        except OSError:
            return
        self._judge(row, leg, datagram, _source(address))

    def _judge(self, row: int, leg: Leg, datagram: bytes, source: Source) -> None:
        """Judge a datagram at the lobby: latch to its source, take it, or count it as a stranger's."""
        if len(datagram) < _RTP_START.size or datagram[0] & 0xC0 != 0x80:
            self._count_stranger(leg)
            return
        _, second, sequence, _, ssrc = _RTP_START.unpack_from(datagram)
        if is_rtcp(datagram):  # RTCP does not show the source of the RTP
            if leg.media.is_muxed and source == leg.endpoint.remote:
                self._columns.reports.receive(row, datagram)
            return
        is_agreed = self._columns.receiver.is_agreed(row, second & 0x7F)
        was_proven = len(leg.latch.proven)
        verdict = leg.latch.receive_packet(
            Arrival(source, ssrc, sequence, is_agreed),
            self._tick.at_s,
            self._columns.receiver.heard(row, TICK_S),
        )
        match verdict:
            case Verdict.LATCHED:
                self._unproven.discard(row)
                self._take_first(row, leg, datagram, source)
            case Verdict.HEARD if is_agreed and leg.latch.latched is None and row not in self._unproven:
                self._unproven.add(row)
                self._take_first(row, leg, datagram, source)
            case Verdict.HEARD:
                self._begin_uplink(row, leg, source)
                self._take_one(row, datagram)
            case Verdict.PENDING:
                pass
            case Verdict.STRANGE:
                self._count_stranger(leg)
        if len(leg.latch.proven) != was_proven:
            self._direct(row)

    def _take_first(self, row: int, leg: Leg, datagram: bytes, source: Source) -> None:
        """Connect a socket to the source.

        Take its packet, and those that came before the socket was connected.
        """
        early = self._connect(row, leg, source)
        self._begin_uplink(row, leg, source)
        self._take_one(row, datagram)
        for each, address in early:
            self._judge(row, leg, each, _source(address))

    def prove_connected(self) -> None:
        """Tell latches of the second packet that the SDP's address sent to its own socket.

        It latches them.
        """
        for row in list(self._unproven):
            leg, heard = self._legs.of(row), self._columns.receiver.heard(row, TICK_S)
            if heard is None or leg.media.remote is None:
                continue
            arrival = Arrival(leg.media.remote, heard.ssrc, heard.highest_sequence)
            if leg.latch.receive_packet(arrival, heard.at_s) is Verdict.LATCHED:
                self._unproven.discard(row)
                self._direct(row)

    def _connect(self, row: int, leg: Leg, source: Source) -> list[tuple[bytes, Any]]:
        """Connect a socket to the caller and send by it from now on."""
        self._disconnect(leg)
        try:
            early = leg.endpoint.connect(source)
        except OSError:  # no further socket is allowed: the lobby goes on serving
            leg.endpoint.send_to(source, leg.endpoint.remote_rtcp)
            early = []
        if leg.endpoint.connected is not None:
            self._sweep.add_hot(leg.endpoint.connected, row)
        if source == leg.media.remote:
            leg.endpoint.send_reports_to(leg.media.remote_rtcp)
        else:
            leg.endpoint.send_reports_to(
                Source(source.host, source.port + 1 if source.port < 65535 else source.port)
            )
        self._direct(row)
        return early

    def _begin_uplink(self, row: int, leg: Leg, source: Source) -> None:
        """Start the uplink at the caller's first packet, and report it."""
        self._columns.uplink.align(row, self._tick.number)
        if leg.begin():
            self._started(row, source)

    def _disconnect(self, leg: Leg) -> None:
        connected = leg.endpoint.connected
        if connected is not None:
            self._sweep.remove_hot(connected)
            leg.endpoint.disconnect()

    def _take_one(self, row: int, datagram: bytes) -> None:
        """Pass a single packet through the columns."""
        one = np.zeros((1, SLOT), np.uint8)
        one[0, : len(datagram)] = np.frombuffer(datagram, np.uint8)
        sizes = np.array([len(datagram)], np.int32)
        self._columns.receiver.receive(np.array([row]), one, sizes, self._tick)

    def _count_stranger(self, leg: Leg) -> None:
        leg.count_stranger()
        self.strange += 1


def _source(address: tuple[Any, ...]) -> Source:
    """Return the kernel's address as the rules write it."""
    return Source(canonical_host(address[0]), address[1])
