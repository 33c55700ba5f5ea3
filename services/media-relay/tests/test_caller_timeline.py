"""A caller's RTP from packet to bot, over networks and clocks that misbehave. Virtual time, no sockets."""

import itertools
import math
import struct
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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


def frames_of(packets, stalls=()):
    """Return what the bot gets until the last packet. `stalls`: when we stood still and how long, ms."""
    bot, jitter = Bot(), JitterBuffer(new_calls(1))
    receiver, uplink = RtpReceiver(jitter, bot), Uplink(jitter, MediaPipeline((bot,)))
    jitter.open(0, silence=WIRE.silence, now_s=0.0)
    receiver.open(0, 0)
    receiver.configure(0, payload_type=0, event_payload_type=KEYS, is_muxed=False, is_receiving=True)
    uplink.open(0, WIRE)
    waiting = sorted(packets, key=lambda each: each.at_ms)[::-1]
    for tick, missed in ticks(waiting[0].at_ms, stalls):
        receiver.begin_tick(missed)
        while waiting and waiting[-1].at_ms <= tick.number * TICK_MS:
            uplink.align(0, tick.number)
            receiver.receive(np.array([0]), *datagram_of(waiting.pop()), tick)
        uplink.run(tick)
    return bot.frames


def ticks(end_ms, stalls):
    """The ticks that are run until the end, and how many were missed before each."""
    missed, number = 0, 0
    while number * TICK_MS < end_ms + TICK_MS or missed:
        if any(begin <= number * TICK_MS < begin + length for begin, length in stalls):
            missed += 1
        else:
            yield Tick(number, number * TICK_MS / 1000), missed
            missed = 0
        number += 1


def datagram_of(packet):
    second = packet.payload_type | packet.marker << 7
    stamp = packet.timestamp & 0xFFFFFFFF
    header = struct.pack("!BBHII", 0x80, second, packet.sequence & 0xFFFF, stamp, 7)
    length = len(header) + len(packet.payload)
    datagram = np.zeros((1, SLOT), np.uint8)
    datagram[0, :length] = np.frombuffer(header + packet.payload, np.uint8)
    return datagram, np.array([length], np.int32)


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


def test_a_caller_who_never_pauses_gets_the_delay_off_all_the_same():
    frames = frames_of(delayed(numbered(1000), lambda n: 50 if n % 10 == 5 and n < 100 else 0))
    heard = [each.number for each in frames if not each.flags]
    assert frames[-1].number == 999
    assert len(set(range(100, 1000)) - set(heard)) <= 3


def heard_late_by(frames, packets):
    """By packet: how late it was heard, ms."""
    sent = {n: packet.at_ms for n, packet in enumerate(packets)}
    return {each.number: each.at_ms - sent[each.number] for each in frames if not each.flags}


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.floats(1000, 1020), st.integers(1, 6), st.integers(220, 1500))
def test_a_stall_of_ours_costs_a_caller_nothing(stall_ticks, at_ms, times, every_ms):
    """Up to 200 ms, at any phase, once or again and again; on time again as soon as that can be."""
    packets = numbered(450)
    stalls = [(at_ms + n * (every_ms + stall_ticks * TICK_MS), stall_ticks * TICK_MS) for n in range(times)]
    frames = frames_of(packets, stalls)
    assert [each.number for each in frames] == list(range(450))
    assert not any(each.flags for each in frames)
    late_by = heard_late_by(frames, packets)
    for n, packet in enumerate(packets):
        if not any(begin - 20 <= packet.at_ms < begin + 1.5 * length + 20 for begin, length in stalls):
            assert late_by[n] <= TICK_MS


@pytest.mark.parametrize("stall_ms", [20, 60, 100, 150])
@pytest.mark.parametrize("phase_ms", [0, 5, 10, 15])
def test_stalls_of_ours_are_not_taken_for_jitter(stall_ms, phase_ms):
    """A talk-spurt after them is heard when it comes."""
    stalls = [(1000 + phase_ms + 1000 * n, stall_ms) for n in range(5)]
    packets = [
        Packet(each.at_ms + 303, each.sequence, each.timestamp + 2400, each.payload, marker=n == 320)
        if n >= 320
        else each
        for n, each in enumerate(numbered(400))
    ]
    late_by = heard_late_by(frames_of(packets, stalls), packets)
    assert list(late_by) == list(range(400))
    assert max(late_by[n] for n in range(320, 400)) <= FRAME_MS


@pytest.mark.parametrize("waited_ms", [20, 60, 130, 200, 400])
@pytest.mark.parametrize("stood_still", [False, True])
def test_packets_that_waited_for_the_first_tick_put_nothing_off(waited_ms, stood_still):
    """We stood still as the call began, or many calls began at once: the first packets are read together."""
    packets = numbered(200)
    if stood_still:
        frames = frames_of(packets, [(0, waited_ms)])
    else:
        frames = frames_of(delayed(packets, lambda n: max(waited_ms - n * FRAME_MS, 0)))
    assert [each.number for each in frames] == list(range(200))
    late_by = heard_late_by(frames, packets)
    assert max(late_by.values()) <= waited_ms + TICK_MS
    assert max(late_by[n] for n in range(70 + waited_ms // FRAME_MS, 200)) <= TICK_MS


def burst(first, delay_ms):
    """Delay of packet n where the network holds all back for a moment."""
    return lambda n: max(delay_ms - (n - first) * FRAME_MS, 0) if n >= first else 0


@pytest.mark.parametrize("delay_ms", [50, 100, 160, 300, 480])
def test_a_burst_is_heard_whole_and_on_time_again_within_two_seconds(delay_ms):
    """For each concealed frame one is left out later: a quiet one, after ten seconds a loud one."""
    packets = delayed(numbered(1000), burst(100, delay_ms))
    frames = frames_of(packets)
    late_by = heard_late_by(frames, packets)
    assert set(range(300)) <= set(late_by)
    assert max(by for n, by in late_by.items() if n >= 100 + (delay_ms + 1900) // FRAME_MS) <= FRAME_MS
    left_out = [n for n in range(1000) if n not in late_by]
    assert len(left_out) <= math.ceil(delay_ms / FRAME_MS)
    assert all(after - before >= 5 for before, after in itertools.pairwise(left_out))
    assert frames[-1].seq * FRAME_MS == pytest.approx(frames[-1].at_ms - frames[0].at_ms, abs=2 * FRAME_MS)


@pytest.mark.parametrize("every_s", [1, 3, 6, 12])
@pytest.mark.parametrize("delay_ms", [60, 100, 150])
def test_a_wireless_phone_with_bursts_now_and_then_loses_no_word(every_s, delay_ms):
    """It speaks for 1.5 s, then is quiet for 0.5 s."""
    spoken = [
        Packet(
            each.at_ms,
            each.sequence,
            each.timestamp,
            each.payload if n % 100 < 75 else bytes([QUIET]) * FRAME,
        )
        for n, each in enumerate(numbered(2000))
    ]
    period = every_s * 50
    packets = delayed(spoken, lambda n: max(delay_ms - n % period * FRAME_MS, 0) if n >= period else 0)
    frames = [each for each in frames_of(packets) if not each.flags]
    loud = {each.number for each in frames if each.payload[-1] != QUIET}
    assert loud >= {n for n in range(1950) if n % 100 < 75}
    assert frames[-1].seq * FRAME_MS == pytest.approx(frames[-1].at_ms - frames[0].at_ms, abs=2 * FRAME_MS)


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
