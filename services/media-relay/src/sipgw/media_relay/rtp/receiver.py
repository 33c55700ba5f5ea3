"""RtpReceiver: receives callers' packets and keeps track of sources, payload types and losses.

A kernel reads all sockets and puts audio into the jitter buffers. Keys (RFC 4733) and RTCP on the RTP port
take the slow path, one by one. Keys may come under an SSRC of their own: the audio's SSRC and its statistics
never follow them.
"""

from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from sipgw.audio import PayloadU8
from sipgw.media_relay.kernels.events import EVENT, KEY, RTCP, TOTALS
from sipgw.media_relay.kernels.receive import payload_length, payload_start, receive, take_datagrams
from sipgw.media_relay.kernels.sockets import SLOT
from sipgw.media_relay.pipeline.stage import Tick
from sipgw.media_relay.rtp.rtp_sweep import HotSockets
from sipgw.rtp.jitter_buffer import JitterBuffer
from sipgw.rtp.packet import RtpPacket
from sipgw.rtp.reception_table import ReceptionTable
from sipgw.rtp.source_latch import Heard

Rows = npt.NDArray[np.int64]
Datagrams = npt.NDArray[np.uint8]

NO_PAYLOAD_TYPE: Final = 255
_CLOCK_HZ: Final = 8000
_EVENTS: Final = 128
_PAYLOAD_TYPES: Final = (
    "payload_type",
    "event_payload_type",
    "peers_event_payload_type",
    "former_payload_type",
)


class ReceiverListener(Protocol):
    """Receives keys, RTCP and the like one by one, since they are rare."""

    def on_event_packet(self, row: int, packet: RtpPacket) -> None:
        """Take a packet of telephone events."""
        ...

    def on_rtcp(self, row: int, datagram: bytes) -> None:
        """Take RTCP that came to the RTP port."""
        ...


@dataclass(frozen=True, slots=True)
class ReceptionTotals:
    """Totals of a call, over all its SSRCs."""

    received: int
    lost: int
    jitter_ms: float


class RtpReceiver:
    """The source of each call."""

    def __init__(self, jitter: JitterBuffer, listener: ReceiverListener) -> None:
        calls = jitter.calls
        self.reception = ReceptionTable(calls)
        self._calls = calls
        self._listener = listener
        self._recoding: dict[int, PayloadU8] = {}
        """The table that translates the former payload type's bytes, by row."""
        columns = calls["source"]
        for field in _PAYLOAD_TYPES:
            columns[field] = NO_PAYLOAD_TYPE
        columns["candidate_next"] = -1
        self.ssrc: npt.NDArray[np.uint32] = columns["ssrc"]
        self.has_ssrc: npt.NDArray[np.bool_] = columns["has_ssrc"]
        self.last_heard: npt.NDArray[np.int64] = columns["last_heard"]
        """The tick of the last packet, or of the row's opening."""
        self._missed = 0
        self._events = np.zeros(_EVENTS, EVENT)
        self._totals = np.zeros(1, TOTALS)
        memory = calls, jitter.rings, jitter.filled, self._events, self._totals
        self._take = take_datagrams.bind(*memory)
        self._slots = np.zeros((_EVENTS, SLOT), np.uint8)
        self._receive = receive.bind(*memory, self._slots)

    @property
    def malformed(self) -> int:
        """Datagrams that are no RTP."""
        return int(self._totals[0]["malformed"])

    @property
    def unexpected(self) -> int:
        """Packets of a payload type that was not agreed."""
        return int(self._totals[0]["unexpected"])

    def open(self, row: int, tick_number: int) -> None:
        """Reset the row for a new call."""
        self.reception.reset(row)
        source = self._calls[row]["source"]
        source["earlier_received"] = source["earlier_lost"] = 0
        source["has_ssrc"] = False
        source["candidate_next"] = -1
        source["last_heard"] = tick_number

    def configure(
        self,
        row: int,
        *,
        payload_type: int,
        event_payload_type: int,
        peers_event_payload_type: int = NO_PAYLOAD_TYPE,
        is_muxed: bool,
        is_receiving: bool,
    ) -> None:
        """Apply the agreed media. When not receiving (hold), audio is discarded.

        Telephone events are accepted under the caller's own number too, unless that is the audio's.
        """
        source = self._calls[row]["source"]
        source["payload_type"] = payload_type
        source["event_payload_type"] = event_payload_type
        is_free = peers_event_payload_type != payload_type
        source["peers_event_payload_type"] = peers_event_payload_type if is_free else NO_PAYLOAD_TYPE
        source["is_muxed"] = is_muxed
        source["is_receiving"] = is_receiving

    def recode(self, row: int, table: PayloadU8) -> None:
        """Prepare for another codec, which is about to be agreed.

        The caller sends the former one until it has our answer: its bytes are translated by `table` (256,),
        since both must be accepted (RFC 3264 §8.3.1).
        """
        source = self._calls[row]["source"]
        source["former_payload_type"] = source["payload_type"]
        self._recoding[row] = table

    def close(self, row: int) -> None:
        """Accept nothing on the row."""
        for field in _PAYLOAD_TYPES:
            self._calls["source"][field][row] = NO_PAYLOAD_TYPE
        self._recoding.pop(row, None)

    def is_agreed(self, row: int, payload_type: int) -> bool:
        """Return whether the row's caller may send this payload type: audio or telephone events."""
        source = self._calls[row]["source"]
        agreed = (source[name] for name in ("payload_type", "event_payload_type", "peers_event_payload_type"))
        return payload_type in agreed

    def heard(self, row: int, tick_s: float) -> Heard | None:
        """Return the stream that a caller behind a rebound NAT must continue."""
        if not self.has_ssrc[row]:
            return None
        source = self._calls[row]["source"]
        return Heard(int(source["ssrc"]), int(source["highest"]), float(source["last_heard"]) * tick_s)

    def totals(self, row: int) -> ReceptionTotals:
        """Return the call's totals."""
        now, source = self.reception.totals(row), self._calls[row]["source"]
        return ReceptionTotals(
            now.received + int(source["earlier_received"]),
            max(now.lost, 0) + int(source["earlier_lost"]),
            now.jitter * 1000 / _CLOCK_HZ,
        )

    def begin_tick(self, missed: int) -> None:
        """Note how many ticks a stall left out: what is read in this one may have come in those."""
        self._missed = missed

    def sweep(self, sockets: HotSockets, tick: Tick, rounds: int) -> None:
        """Read the calls' connected sockets, one datagram of each a round."""
        while rounds:
            rounds = self._receive(
                sockets.row_of_fd,
                sockets.ready,
                sockets.epoll,
                tick.number,
                self._missed,
                _arrival(tick),
                rounds,
            )
            if self._totals[0]["events"]:
                self._follow_up(self._slots, tick)

    def receive(self, rows: Rows, datagrams: Datagrams, lengths: npt.NDArray[np.int32], tick: Tick) -> None:
        """Take datagrams (n, SLOT) in order, each of one of `rows`; lengths below 12 are not RTP."""
        for begin in range(0, len(rows), _EVENTS):
            part = slice(begin, begin + _EVENTS)
            self._take(rows[part], datagrams[part], lengths[part], tick.number, self._missed, _arrival(tick))
            if self._totals[0]["events"]:
                self._follow_up(datagrams[part], tick)

    def _follow_up(self, datagrams: Datagrams, tick: Tick) -> None:
        """Handle the events that the kernel left to Python."""
        for event in self._events[: self._totals[0]["events"]].copy():
            row, kind, datagram = int(event["row"]), int(event["kind"]), datagrams[event["slot"]]
            content = datagram[: event["size"]]
            if kind == RTCP:
                self._listener.on_rtcp(row, content.tobytes())
            elif kind == KEY:
                self._listener.on_event_packet(row, RtpPacket.parse(content.tobytes()))
            else:
                self._take_former(row, datagram, len(content), tick)

    def _take_former(self, row: int, datagram: Datagrams, size: int, tick: Tick) -> None:
        """Take a packet of the former codec: translate it into the present codec."""
        start = payload_start(datagram, size)
        audio = slice(start, start + payload_length(datagram, start, size))
        datagram[audio] = self._recoding[row][datagram[audio]]
        datagram[1] = (datagram[1] & 0x80) | self._calls[row]["source"]["payload_type"]
        self.receive(np.array([row]), datagram[None, :], np.array([size], np.int32), tick)


def _arrival(tick: Tick) -> int:
    """Return our clock in timestamp units."""
    return int(tick.at_s * _CLOCK_HZ) & 0xFFFFFFFF
