"""RtpReceiver: callers' packets as columns: their sources, their payload, their losses.

Audio goes into the jitter buffer. Keys (RFC 4733) and RTCP on the RTP port take the slow path, one by one.
Keys may come under an SSRC of their own: the audio's SSRC and its statistics never follow them.
"""

from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from sipgw.audio import PayloadU8
from sipgw.media_relay.pipeline.stage import Tick
from sipgw.media_relay.rtp.rtp_sweep import SLOT
from sipgw.rtp.jitter_buffer import JitterBuffer
from sipgw.rtp.packet import RtpPacket
from sipgw.rtp.packet_batch import HEADER_BYTES, PacketBatch, is_rtcp, parse_batch
from sipgw.rtp.reception_table import ReceptionTable
from sipgw.rtp.source_latch import Heard

Rows = npt.NDArray[np.int32]
Mask = npt.NDArray[np.bool_]

NO_PAYLOAD_TYPE: Final = 255
_CLOCK_HZ: Final = 8000
_OLD_SSRC_SILENCE_TICKS: Final = 12
"""After 60 ms of silence another SSRC is accepted at once."""


class ReceiverListener(Protocol):
    """Hears of what is not audio: rare, so one call each."""

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
    """Columns of `rows` callers."""

    def __init__(self, rows: int, jitter: JitterBuffer, listener: ReceiverListener) -> None:
        self.reception = ReceptionTable(jitter.calls)
        self._jitter = jitter
        self._listener = listener
        self._payload_type = np.full(rows, NO_PAYLOAD_TYPE, np.uint8)
        self._event_payload_type = np.full(rows, NO_PAYLOAD_TYPE, np.uint8)
        self._former_payload_type = np.full(rows, NO_PAYLOAD_TYPE, np.uint8)
        self._recoding: dict[int, PayloadU8] = {}
        """By row: the table that translates the former payload type's bytes."""
        self._is_muxed = np.zeros(rows, np.bool_)
        self._is_receiving = np.zeros(rows, np.bool_)
        self.ssrc = np.zeros(rows, np.uint32)
        self.has_ssrc = np.zeros(rows, np.bool_)
        self._candidate_ssrc = np.zeros(rows, np.uint32)
        self._candidate_next = np.full(rows, -1, np.int32)
        self._highest = np.zeros(rows, np.uint16)
        self.last_heard = np.zeros(rows, np.int64)
        """The tick of the last packet, or of the row's opening."""
        self._ssrc_heard = np.zeros(rows, np.int64)
        """The tick of the last packet of `ssrc`."""
        self.last_audio = np.zeros(rows, np.int64)
        self._earlier = [ReceptionTotals(0, 0, 0.0)] * rows
        """The totals of earlier SSRCs."""
        self.malformed = 0
        self.unexpected = 0
        """Packets of a payload type that was not agreed."""

    def open(self, row: int, tick_number: int) -> None:
        """Reset the row for a new call."""
        self.reception.reset(row)
        self._earlier[row] = ReceptionTotals(0, 0, 0.0)
        self.has_ssrc[row] = False
        self._candidate_next[row] = -1
        self.last_heard[row] = self.last_audio[row] = tick_number

    def configure(
        self, row: int, *, payload_type: int, event_payload_type: int, is_muxed: bool, is_receiving: bool
    ) -> None:
        """Apply what was agreed. When not receiving (hold), audio is discarded."""
        self._payload_type[row] = payload_type
        self._event_payload_type[row] = event_payload_type
        self._is_muxed[row] = is_muxed
        self._is_receiving[row] = is_receiving

    def recode(self, row: int, table: PayloadU8) -> None:
        """Prepare for another codec, which is about to be agreed.

        The caller sends the former one until it has our answer: its bytes are translated by `table` (256,),
        since both must be accepted (RFC 3264 §8.3.1).
        """
        self._former_payload_type[row] = self._payload_type[row]
        self._recoding[row] = table

    def close(self, row: int) -> None:
        """Accept nothing on the row."""
        for column in (self._payload_type, self._event_payload_type, self._former_payload_type):
            column[row] = NO_PAYLOAD_TYPE
        self._recoding.pop(row, None)

    def is_agreed(self, row: int, payload_type: int) -> bool:
        """Return whether the row's caller may send this payload type: audio or telephone events."""
        return payload_type in (self._payload_type[row], self._event_payload_type[row])

    def heard(self, row: int, tick_s: float) -> Heard | None:
        """Return the stream that a caller behind a rebound NAT must continue."""
        if not self.has_ssrc[row]:
            return None
        return Heard(int(self.ssrc[row]), int(self._highest[row]), float(self.last_heard[row]) * tick_s)

    def totals(self, row: int) -> ReceptionTotals:
        """Return the call's totals."""
        now, before = self.reception.totals(row), self._earlier[row]
        return ReceptionTotals(
            now.received + before.received,
            max(now.lost, 0) + before.lost,
            now.jitter * 1000 / _CLOCK_HZ,
        )

    def receive(
        self, rows: Rows, datagrams: npt.NDArray[np.uint8], lengths: npt.NDArray[np.int32], tick: Tick
    ) -> None:
        """Take one datagram (n, SLOT) of each of `rows`, all different; lengths below 12 are not RTP."""
        batch = parse_batch(datagrams, lengths)
        accepted = batch.valid & (lengths < SLOT)
        shared = is_rtcp(datagrams) & self._is_muxed[rows] & (lengths > 0)
        if shared.any():
            accepted &= ~shared
            for i in np.flatnonzero(shared).tolist():
                self._listener.on_rtcp(int(rows[i]), datagrams[i, : lengths[i]].tobytes())
        audio = batch.payload_type == self._payload_type[rows]
        events = batch.payload_type == self._event_payload_type[rows]
        known = audio | events
        if not (accepted & known).all():
            known |= self._recode_former(rows, batch, datagrams, accepted & ~known)
            self.malformed += int((~accepted & ~shared).sum())
            self.unexpected += int((accepted & ~known).sum())
            self.last_heard[rows[accepted]] = tick.number
            accepted &= known
        accepted = self._judge_sources(rows, batch, datagrams, accepted, tick)
        if not accepted.all():
            which = np.flatnonzero(accepted)
            if not len(which):
                return
            self._take(rows[which], _narrow(batch, which), datagrams[which], events[which], tick)
        else:
            self._take(rows, batch, datagrams, events, tick)

    def _recode_former(
        self, rows: Rows, batch: PacketBatch, datagrams: npt.NDArray[np.uint8], strange: Mask
    ) -> Mask:
        """Translate packets of the former codec; return which of `strange` they are."""
        former = strange & (batch.payload_type == self._former_payload_type[rows])
        for i in np.flatnonzero(former).tolist():
            audio = slice(int(batch.payload_start[i]), int(batch.payload_start[i] + batch.payload_length[i]))
            datagrams[i, audio] = self._recoding[int(rows[i])][datagrams[i, audio]]
        return former

    def _take(
        self, rows: Rows, batch: PacketBatch, datagrams: npt.NDArray[np.uint8], events: Mask, tick: Tick
    ) -> None:
        """Take packets of accepted sources and payload types."""
        arrival = int(tick.at_s * _CLOCK_HZ) & 0xFFFFFFFF
        counted = self.reception.receive(rows, batch.sequence, batch.timestamp, arrival, timed=~events)
        newer = (batch.sequence - self._highest[rows]).view(np.int16) > 0
        self._highest[rows] = np.where(newer, batch.sequence, self._highest[rows])
        self.last_heard[rows] = self._ssrc_heard[rows] = tick.number
        if events.any():
            for i in np.flatnonzero(events).tolist():
                self._listener.on_event_packet(int(rows[i]), _packet(batch, datagrams, i))
        audio = counted & ~events & (batch.payload_length > 0) & self._is_receiving[rows]
        self.last_audio[rows[audio]] = tick.number
        self._write_audio(rows, batch, datagrams, audio)

    def _write_audio(
        self, rows: Rows, batch: PacketBatch, datagrams: npt.NDArray[np.uint8], audio: Mask
    ) -> None:
        """Write audio in groups of one payload offset and length: nearly always one group."""
        lengths, starts = batch.payload_length, batch.payload_start
        if audio.all():
            length = int(lengths[0])
            if (lengths == length).all() and (starts == HEADER_BYTES).all():
                payload = datagrams[: len(rows), HEADER_BYTES : HEADER_BYTES + length]
                self._jitter.write(rows, batch.timestamp, payload)
                return
        rest = np.flatnonzero(audio)
        while len(rest):
            start, length = int(starts[rest[0]]), int(lengths[rest[0]])
            alike = (starts[rest] == start) & (lengths[rest] == length)
            which, rest = rest[alike], rest[~alike]
            self._jitter.write(rows[which], batch.timestamp[which], datagrams[which, start : start + length])

    def _judge_sources(
        self, rows: Rows, batch: PacketBatch, datagrams: npt.NDArray[np.uint8], accepted: Mask, tick: Tick
    ) -> Mask:
        """Keep packets of each call's SSRC; accept a new SSRC by the rules.

        Hand on keys under an SSRC of their own, and keep them from all that follows.
        """
        same = (self.ssrc[rows] == batch.ssrc) & self.has_ssrc[rows]
        if same.all():
            return accepted
        for i in np.flatnonzero(accepted & ~same).tolist():
            row = int(rows[i])
            if self.has_ssrc[row] and batch.payload_type[i] == self._event_payload_type[row]:
                self.last_heard[row] = tick.number
                self._listener.on_event_packet(row, _packet(batch, datagrams, i))
                accepted[i] = False
            elif not self._meet(row, int(batch.ssrc[i]), int(batch.sequence[i]), tick):
                accepted[i] = False
        return accepted

    def _meet(self, row: int, ssrc: int, sequence: int, tick: Tick) -> bool:
        """Judge a packet of another SSRC.

        Accept it when the old one is silent or brought nothing but keys, or when the new one continues.
        """
        if self.has_ssrc[row]:
            is_silent = tick.number - self._ssrc_heard[row] > _OLD_SSRC_SILENCE_TICKS
            is_free = is_silent or not self.reception.has_begun(row)
            goes_on = self._candidate_ssrc[row] == ssrc and self._candidate_next[row] == sequence
            self._candidate_ssrc[row] = ssrc
            self._candidate_next[row] = (sequence + 1) & 0xFFFF
            if not (is_free or goes_on):
                return False
            self._earlier[row] = self.totals(row)
            self.reception.reset(row)
            self._jitter.resynchronize(np.array([row]))
        self.ssrc[row] = ssrc
        self.has_ssrc[row] = True
        self._highest[row] = (sequence - 1) & 0xFFFF
        return True


def _packet(batch: PacketBatch, datagrams: npt.NDArray[np.uint8], i: int) -> RtpPacket:
    start = int(batch.payload_start[i])
    return RtpPacket(
        payload_type=int(batch.payload_type[i]),
        sequence=int(batch.sequence[i]),
        timestamp=int(batch.timestamp[i]),
        ssrc=int(batch.ssrc[i]),
        marker=bool(batch.marker[i]),
        payload=datagrams[i, start : start + int(batch.payload_length[i])].tobytes(),
    )


def _narrow(batch: PacketBatch, which: npt.NDArray[np.intp]) -> PacketBatch:
    return type(batch)(
        batch.valid[which],
        batch.payload_type[which],
        batch.marker[which],
        batch.sequence[which],
        batch.timestamp[which],
        batch.ssrc[which],
        batch.payload_start[which],
        batch.payload_length[which],
    )
