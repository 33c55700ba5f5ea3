"""MediaPlane: the media of all calls, moved together, a tick at a time. The tick never blocks.

A tick reads lobbies and RTCP (a few packets), then the callers' packets (columns); runs the uplink through
the pipeline and the downlink to the callers; then handles what followed. This module only wires: the rules
are in the parts.
"""

import functools
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from sipgw.audio import AudioFormat, recoding_table
from sipgw.media_relay.load.tick import TICK_S
from sipgw.media_relay.pipeline.pipeline import MediaPipeline
from sipgw.media_relay.pipeline.stage import Tick
from sipgw.media_relay.plane.columns import Columns
from sipgw.media_relay.plane.leg import Leg, Legs
from sipgw.media_relay.plane.lobby import Lobby
from sipgw.media_relay.plane.media_parameters import MediaParameters
from sipgw.media_relay.plane.outbound_gate import OutboundGate
from sipgw.media_relay.plane.rtp_endpoint import RtpEndpoint
from sipgw.media_relay.ports.port_pool import PortPair, PortPool
from sipgw.media_relay.rtp.digits_in import DigitsIn
from sipgw.media_relay.rtp.playout import PlayoutQueue
from sipgw.media_relay.rtp.receiver import NO_PAYLOAD_TYPE, RtpReceiver
from sipgw.media_relay.rtp.rtcp_reports import RtcpReports
from sipgw.media_relay.rtp.rtp_sweep import RtpSweep
from sipgw.media_relay.rtp.transmitter import Transmitter
from sipgw.media_relay.rtp.uplink import Uplink
from sipgw.rtp.jitter_buffer import JitterBuffer
from sipgw.rtp.media_destination import LocalAddresses, Reach
from sipgw.rtp.packet import RtpPacket
from sipgw.rtp.source_latch import Source, SourceLatch
from sipgw.rtp.telephone_event import DigitEvent, DigitStarted, DtmfSender

_POOL_SWEEP_TICKS: Final = 20
_ROUNDS: Final = 3
_MOST_ROUNDS: Final = 64


class MediaListener(Protocol):
    """Hears of the calls' media. Rows are those of open calls."""

    def media_started(self, row: int, source: Source) -> None:
        """Note the caller's first packet."""
        ...

    def digit_started(self, row: int, digit: str) -> None:
        """Note that the caller pressed a key."""
        ...

    def digit_ended(self, row: int, digit: str, duration_ms: int) -> None:
        """Note that the caller released a key."""
        ...

    def bot_heard(self, row: int) -> None:
        """Note that the caller hears the bot for the first time."""
        ...

    def audio_consumed(self, rows: npt.NDArray[np.intp], total_bytes: npt.NDArray[np.int64]) -> None:
        """Note bot audio played or dropped since the call began.

        Called at least every 100 ms while there is some.
        """
        ...


class MediaPlane:
    """Has as many rows as the playout. The owner calls `on_tick`."""

    def __init__(
        self,
        pool: PortPool,
        playout: PlayoutQueue,
        pipeline: MediaPipeline,
        listener: MediaListener,
        local: LocalAddresses,
    ) -> None:
        calls = playout.calls
        rows = len(calls)
        self.pool = pool
        self._local = local
        self.jitter = JitterBuffer(calls)
        self.receiver = RtpReceiver(self.jitter, self)
        self.playout = playout
        self.uplink = Uplink(self.jitter, pipeline)
        self.transmitter = Transmitter(self.playout, pipeline)
        self._gate = OutboundGate(self.transmitter, self.playout)
        self.reports = RtcpReports(rows, self.receiver, self.transmitter)
        columns = Columns(self.receiver, self.uplink, self.reports)
        self._digits = DigitsIn()
        self._sweep = RtpSweep()
        self._listener = listener
        self._legs = Legs(rows)
        self._lobby = Lobby(self._legs, columns, self._sweep, self._direct, listener.media_started)
        self._tick_number = 0

    @property
    def strange(self) -> int:
        """Packets from sources other than the caller, of all calls."""
        return self._lobby.strange

    def open(
        self, row: int, pair: PortPair, media: MediaParameters, *, is_live: bool, uplink_frame_ms: int
    ) -> None:
        """Open a call on `row` and read its sockets from now on."""
        now_s = self._tick_number * TICK_S
        endpoint = RtpEndpoint(pair, media.remote, media.remote_rtcp)
        latch = SourceLatch(media.remote, media.peer.latch, barred=pair.barred)
        leg = Leg(endpoint, latch, media)
        self._legs.put(row, leg)
        leg.take_media(media)
        silence = media.wire.silence
        self.jitter.open(row, silence=silence, now_s=now_s)
        self.playout.open(row, silence=silence, is_live=is_live, now_s=now_s)
        self.receiver.open(row, self._tick_number)
        self.transmitter.open(row)
        self.uplink.open(row, AudioFormat(media.wire.codec, media.wire.rate_hz, uplink_frame_ms))
        self._configure(row, media)
        self._sweep.add_cold(pair.rtp, functools.partial(self._lobby.read_rtp, row))
        self._sweep.add_cold(pair.rtcp, functools.partial(self._lobby.read_rtcp, row))

    def modify(self, row: int, media: MediaParameters, *, uplink_frame_ms: int) -> None:
        """Apply media agreed anew. Another address of the caller's needs a new latch."""
        leg = self._leg(row)
        moved = media.remote != leg.media.remote and media.remote is not None
        before = leg.media
        leg.take_media(media)
        if media.wire.codec != before.wire.codec:
            table = recoding_table(before.wire, media.wire)
            self.receiver.recode(row, table)
            self.jitter.recode(row, table)
            self.playout.recode(row, table)
        if moved:
            self._lobby.expect(row, media)
        uplink_format = AudioFormat(media.wire.codec, media.wire.rate_hz, uplink_frame_ms)
        self.uplink.open(row, uplink_format, keep_seq=True)
        self._configure(row, media)

    def go_on(self, row: int, elapsed_ms: int) -> None:
        """Continue a call that has lasted `elapsed_ms` on another relay."""
        self.uplink.go_on(row, elapsed_ms, self._tick_number)

    def mute(self, row: int) -> None:
        """Send nothing to the caller: the call may be elsewhere."""
        self._leg(row).mute(muted=True)
        self._direct(row)

    def unmute(self, row: int) -> None:
        """Send to the caller again."""
        self._leg(row).mute(muted=False)
        self._direct(row)

    def answer(self, row: int) -> None:
        """Run the clocks of an answered call. Its caller may be elsewhere than its SDP says."""
        self._leg(row).latch.answer(self._tick_number * TICK_S)
        self.start(row)

    def acknowledge(self, row: int) -> None:
        """Note that the caller has our answer: media may go where its SDP says."""
        self._leg(row).acknowledge()
        self._direct(row)

    def reach(self, row: int) -> Reach:
        """Return whether media may go to the caller."""
        return self._leg(row).reach

    def is_held(self, row: int) -> bool:
        """Return whether the bot's speech waits until it may be sent."""
        return self.transmitter.is_held(row)

    def start(self, row: int) -> None:
        """Run the call's clocks: it is answered, or has early media."""
        self.uplink.start(row, self._tick_number)
        self.transmitter.start(row, self._tick_number)
        self.reports.start(row, self._tick_number)

    def close(self, row: int) -> None:
        """Close the call on `row`; its ports go to rest."""
        leg = self._leg(row)
        if self.transmitter.sent[row] and leg.may_report:
            leg.endpoint.send_rtcp(self.reports.build(row, ends=True), is_muxed=leg.media.is_muxed)
        self._legs.remove(row)
        parts = self.uplink, self.transmitter, self._gate, self.receiver, self.playout, self.reports
        for part in (*parts, self._digits):
            part.close(row)
        self._lobby.close(row, leg)
        latched, has_ssrc = leg.latch.latched, bool(self.receiver.has_ssrc[row])
        heard = (latched, int(self.receiver.ssrc[row])) if latched is not None and has_ssrc else None
        self.pool.release(leg.endpoint.release(heard), self.now_s)

    def send_digits(self, row: int, digits: str, duration_ms: int) -> None:
        """Send keys to the caller.

        Raises ValueError for invalid keys, or when telephone events were not agreed.
        """
        media = self._leg(row).media
        if media.events is None:
            raise ValueError("the caller accepts no telephone events")
        sender = DtmfSender(digits, tone_ms=duration_ms or 100, packet_ms=media.wire.frame_ms)
        self.transmitter.send_digits(
            row,
            sender,
            payload_type=media.events.send_payload_type,
            clock_rate_hz=media.events.clock_rate_hz,
        )

    @property
    def now_s(self) -> float:
        """The time of the present tick."""
        return self._tick_number * TICK_S

    def media_of(self, row: int) -> MediaParameters:
        """Return the media agreed for the call on `row`."""
        return self._leg(row).media

    def strangers_of(self, row: int) -> int:
        """Return how many packets the call got from strangers."""
        return self._leg(row).strange

    def on_tick(self, tick: Tick, missed: int) -> None:
        """Do all the work of one tick."""
        self._tick_number = tick.number
        self.receiver.begin_tick(missed)
        self._lobby.begin_tick(tick)
        self._sweep.sweep_cold()
        self.receiver.sweep(self._sweep.hot, tick, min(_ROUNDS + missed, _MOST_ROUNDS))
        self._lobby.prove_connected()
        self.uplink.run(tick)
        self.transmitter.run(tick)
        self._follow_up(tick)

    def shutdown(self) -> None:
        """Close all sockets."""
        self._sweep.close()
        self.pool.close()

    # -- ReceiverListener

    def on_event_packet(self, row: int, packet: RtpPacket) -> None:
        """See ReceiverListener."""
        for event in self._digits.receive(row, packet, self.now_s):
            self._tell_digit(row, event)

    def on_rtcp(self, row: int, datagram: bytes) -> None:
        """See ReceiverListener."""
        self.reports.receive(row, datagram)

    # -- inside

    def _leg(self, row: int) -> Leg:
        return self._legs.of(row)

    def _configure(self, row: int, media: MediaParameters) -> None:
        events = media.events
        self.receiver.configure(
            row,
            payload_type=media.receive_payload_type,
            event_payload_type=events.receive_payload_type if events else NO_PAYLOAD_TYPE,
            peers_event_payload_type=events.send_payload_type if events else NO_PAYLOAD_TYPE,
            is_muxed=media.is_muxed,
            is_receiving=media.is_receiving,
        )
        if events is not None:
            self._digits.configure(row, events.clock_rate_hz)
        self.transmitter.configure(
            row, media.wire, payload_type=media.send_payload_type, is_sending=media.is_sending
        )
        self._direct(row)

    def _direct(self, row: int) -> None:
        """Send packets to the caller, or hold them, as the rules for its address now say."""
        leg = self._leg(row)
        reach = leg.direct(self._local)
        may_send = self._gate.apply(
            row,
            reach,
            is_sending=leg.media.is_sending,
            tick_number=self._tick_number,
        )
        if may_send and not leg.is_muted:
            self.transmitter.set_sender(row, leg.endpoint.sender(), leg.endpoint.connected_fd)
        else:
            self.transmitter.set_sender(row, None)

    def _follow_up(self, tick: Tick) -> None:
        rows, consumed = self.transmitter.consumed
        if len(rows):
            self._listener.audio_consumed(rows, consumed)
        self._gate.check(tick.number)
        for row in self.transmitter.spoke:
            self._listener.bot_heard(row)
        self.transmitter.spoke.clear()
        for row, event in self._digits.handle_timers(tick.at_s):
            self._tell_digit(row, event)
        for row in self.reports.due(tick.number):
            leg = self._leg(row)
            if leg.may_report:
                leg.endpoint.send_rtcp(self.reports.build(row), is_muxed=leg.media.is_muxed)
        if tick.number % _POOL_SWEEP_TICKS == 0:
            self.pool.sweep(tick.at_s)

    def _tell_digit(self, row: int, event: DigitEvent) -> None:
        if isinstance(event, DigitStarted):
            self._listener.digit_started(row, event.digit)
        else:
            self._listener.digit_ended(row, event.digit, event.duration_ms)
