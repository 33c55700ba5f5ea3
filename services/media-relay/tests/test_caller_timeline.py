"""A caller's RTP from packet to bot, over networks and clocks that misbehave. Virtual time, no sockets."""

import struct
from dataclasses import dataclass

import numpy as np
import pytest

from sipgw.audio import AudioFormat, Codec
from sipgw.media_relay.kernels.sockets import SLOT
from sipgw.media_relay.pipeline import FrameFlag, Tick
from sipgw.media_relay.pipeline.pipeline import MediaPipeline
from sipgw.media_relay.rtp.receiver import RtpReceiver
from sipgw.media_relay.rtp.uplink import Uplink
from sipgw.rtp.jitter_buffer import JitterBuffer
from sipgw.rtp.kernels.columns import new_calls

FRAME, FRAME_MS, TICK_MS = 160, 20, 5
KEYS = 101
WIRE = AudioFormat(Codec.PCMU, 8000, FRAME_MS)
LOUD, QUIET = 0x10, 0xFE


@dataclass(frozen=True)
class Packet:
    at_ms: float
    sequence: int
    timestamp: int
    payload: bytes
    payload_type: int = 0
    marker: bool = False


@dataclass(frozen=True)
class Frame:
    at_ms: int
    seq: int
    flags: int
    payload: bytes

    @property
    def number(self):
        """Return the number of a packet that `numbered` made."""
        return self.payload[-1] + self.payload[-2] * 200


class Bot:
    """Keeps its frames, and ignores keys."""

    def __init__(self):
        self.frames = []

    def uplink(self, block, tick):
        self.frames.append(
            Frame(tick.number * TICK_MS, int(block.seq[0]), int(block.flags[0]), block.payload[0].tobytes())
        )
        return block.take(block.rows != block.rows)

    def downlink(self, block, tick):
        return block

    def on_event_packet(self, row, packet):
        pass


def numbered(count, *, interval_ms=FRAME_MS):
    """Return loud packets that carry their number."""
    return [
        Packet(3 + n * interval_ms, n, n * FRAME, bytes([n // 200 % 200, n % 200]) * (FRAME // 2))
        for n in range(count)
    ]


def frames_of(packets):
    """Return the frames that the bot gets until the last packet has arrived."""
    bot, jitter = Bot(), JitterBuffer(new_calls(1))
    receiver, uplink = RtpReceiver(jitter, bot), Uplink(jitter, MediaPipeline((bot,)))
    jitter.open(0, silence=WIRE.silence, now_s=0.0)
    receiver.open(0, 0)
    receiver.configure(0, payload_type=0, event_payload_type=KEYS, is_muxed=False, is_receiving=True)
    uplink.open(0, WIRE)
    number, datagram = 0, np.zeros((1, SLOT), np.uint8)
    for packet in sorted(packets, key=lambda each: each.at_ms):
        while number * TICK_MS < packet.at_ms:
            uplink.run(Tick(number, number * TICK_MS / 1000))
            number += 1
        uplink.align(0, number)
        second = packet.payload_type | packet.marker << 7
        stamp = packet.timestamp & 0xFFFFFFFF
        header = struct.pack("!BBHII", 0x80, second, packet.sequence & 0xFFFF, stamp, 7)
        length = len(header) + len(packet.payload)
        datagram[0, :length] = np.frombuffer(header + packet.payload, np.uint8)
        tick = Tick(number, number * TICK_MS / 1000)
        receiver.receive(np.array([0]), datagram, np.array([length], np.int32), tick)
    uplink.run(Tick(number, number * TICK_MS / 1000))
    return bot.frames


def drifts(ppm, seconds):
    """Assert that a clock off by `ppm` costs nothing: every packet is one frame, soon after it came."""
    interval_ms = FRAME_MS * (1 - ppm / 1e6)
    packets = numbered(int(seconds * 1000 / interval_ms), interval_ms=interval_ms)
    frames = frames_of(packets)
    assert len(packets) - len(frames) <= 1
    assert [each.payload for each in frames] == [each.payload for each in packets[: len(frames)]]
    assert not any(each.flags for each in frames)
    delays = [frame.at_ms - packet.at_ms for frame, packet in zip(frames, packets, strict=False)]
    assert max(delays) <= 20


@pytest.mark.parametrize("ppm", [4000, -4000])
def test_a_callers_clock_that_is_off_costs_neither_audio_nor_delay(ppm):
    drifts(ppm, seconds=25)


@pytest.mark.slow
@pytest.mark.parametrize("ppm", [200, -200])
def test_a_clock_that_is_off_by_200_millionths_costs_nothing_in_an_hour(ppm):
    drifts(ppm, seconds=3600)


def delayed(packets, delay_ms):
    return [
        Packet(each.at_ms + delay_ms(n), each.sequence, each.timestamp, each.payload)
        for n, each in enumerate(packets)
    ]


def test_every_frame_is_a_whole_packet_also_when_the_buffer_grew():
    frames = frames_of(delayed(numbered(500), lambda n: 45 if n % 2 else 0))
    heard = [each.number for each in frames[50:] if not each.flags]
    assert heard == list(range(heard[0], heard[0] + len(heard)))
    assert [each.seq for each in frames] == list(range(len(frames)))


def test_a_buffer_shrinks_in_silence():
    """The network is bad for two seconds; the caller pauses eight seconds later."""
    packets = [
        Packet(each.at_ms, each.sequence, each.timestamp, bytes([QUIET if 505 <= n < 545 else LOUD]) * FRAME)
        for n, each in enumerate(delayed(numbered(700), lambda n: 50 if n % 10 == 5 and n < 100 else 0))
    ]
    frames = [each for each in frames_of(packets)[100:] if not each.flags]
    assert frames[-1].at_ms - packets[-1].at_ms <= 5
    assert sum(each.payload[-1] == QUIET for each in frames) in (37, 38)
    assert sum(each.payload[-1] == LOUD for each in frames) >= 560


def test_a_caller_who_never_pauses_gets_the_delay_off_after_five_seconds():
    frames = frames_of(delayed(numbered(1000), lambda n: 50 if n % 10 == 5 and n < 100 else 0))
    heard = [each.number for each in frames if not each.flags]
    assert frames[-1].number == 999
    assert len(set(range(100, 1000)) - set(heard)) <= 3


def test_a_caller_who_presses_a_key_is_heard_on_time_afterwards():
    """The key's packets have one timestamp, and what follows goes on from the audio before it."""
    before, after = numbered(50), numbered(150)[50:]
    key = [Packet(1003 + 20 * n, 50 + n, 50 * FRAME, bytes([5, 10, 0, 160]), KEYS) for n in range(8)]
    after = [Packet(each.at_ms + 160, each.sequence + 8, each.timestamp, each.payload) for each in after]
    frames = frames_of([*before, *key, *after])
    heard = [each for each in frames if not each.flags]
    assert [each.number for each in heard] == list(range(150))
    assert frames[-1].at_ms - after[-1].at_ms <= 20


@pytest.mark.parametrize("by", [8000, -2400, -48_000, 40_000])
def test_timestamps_that_leap_cost_a_bot_nothing(by):
    packets = [
        Packet(each.at_ms, each.sequence, each.timestamp + (by if n >= 50 else 0), each.payload)
        for n, each in enumerate(numbered(150))
    ]
    frames = frames_of(packets)
    assert [each.number for each in frames] == list(range(150))
    assert not any(each.flags & FrameFlag.CONCEALED for each in frames)
    assert frames[-1].at_ms - packets[-1].at_ms <= 5


def test_a_caller_who_sends_comfort_noise_is_silent_and_not_lost():
    """Payload type 13 though it was not agreed (RFC 3389 §4)."""
    spoken = numbered(20)
    noise = Packet(403, 20, 20 * FRAME, bytes([60]), payload_type=13)
    resumed = [
        Packet(each.at_ms + 1000, each.sequence + 1, each.timestamp + 8000, each.payload, marker=n == 0)
        for n, each in enumerate(numbered(40)[20:])
    ]
    frames = frames_of([*spoken, noise, *resumed])
    assert not any(each.flags for each in frames)
    assert [each.number for each in (*frames[:20], *frames[-20:])] == list(range(40))
    assert len(frames) == pytest.approx(20 + 50 + 20, abs=1)
