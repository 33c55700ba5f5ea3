"""The bot gets one frame each period, whatever the network does. Virtual time."""

import numpy as np
import pytest

from sipgw.audio import AudioFormat, Codec
from sipgw.media_relay.pipeline import FrameFlag, Tick
from sipgw.media_relay.pipeline.pipeline import MediaPipeline
from sipgw.media_relay.rtp.uplink import Uplink
from sipgw.rtp.jitter_buffer import JitterBuffer
from sipgw.rtp.kernels.columns import new_calls

WIRE = AudioFormat(Codec.PCMU, 8000, 20)
ROW, ROWS = 1, 3


class Bot:
    """A stage that takes the frames of all rows and notes their ticks."""

    def __init__(self):
        self.frames = []  # (tick, seq, last byte or None when concealed)

    def uplink(self, block, tick):
        for seq, payload, flags in zip(block.seq, block.payload, block.flags, strict=True):
            self.frames.append(
                (tick.number, int(seq), None if flags & FrameFlag.CONCEALED else int(payload[-1]))
            )
        return block.take(block.rows != block.rows)

    def downlink(self, block, tick):
        return block


class Call:
    """One caller; packet n has bytes n + 1."""

    def __init__(self, wire=WIRE):
        self.jitter, self.bot = JitterBuffer(new_calls(ROWS)), Bot()
        self.uplink = Uplink(self.jitter, MediaPipeline((self.bot,)))
        self.jitter.open(ROW, silence=0xFF, now_s=0.0)
        self.uplink.open(ROW, wire)
        self.number = 0

    def say(self, n):
        header = np.array([[n & 0xFFFF, n * 160 & 0xFFFFFFFF, 0]], np.int64)
        audio = np.full((1, 160), (n + 1) % 255, np.uint8)
        self.jitter.write(np.array([ROW]), header, audio, self.number * 0.005)

    def tick(self, count=1):
        for _ in range(count):
            self.number += 1
            self.uplink.run(Tick(self.number, self.number * 0.005))

    def begin(self):
        self.number = 1
        self.say(0)
        self.uplink.align(ROW, 1)
        self.uplink.run(Tick(1, 0.005))

    def talk(self, first, count, ticks=4):
        for n in range(first, first + count):
            self.tick(ticks - 1)
            self.say(n)
            self.tick()

    @property
    def heard(self):
        return [frame for _, _, frame in self.bot.frames]

    @property
    def seqs(self):
        return [seq for _, seq, _ in self.bot.frames]


def test_a_row_that_was_not_started_stands_still():
    call = Call()
    call.tick(100)
    assert call.bot.frames == []


def test_silence_flows_from_the_start_even_before_the_callers_first_packet():
    call = Call()
    call.uplink.start(ROW, 0)
    call.tick(40)
    assert call.heard == [None] * 11 or call.heard == [None] * 10
    assert call.seqs == list(range(len(call.heard)))


def test_a_frame_leaves_in_the_tick_of_its_packet():
    call = Call()
    call.begin()
    call.talk(1, 50)
    assert call.heard == list(range(1, 52))
    assert [tick for tick, _, _ in call.bot.frames] == [1 + 4 * n for n in range(51)]


def test_a_late_packet_is_waited_for_by_three_ticks():
    call = Call()
    call.begin()
    call.talk(1, 10)
    call.tick(6)  # due after 4
    call.say(11)
    call.tick()
    assert call.heard[-1] == 12
    assert call.uplink.concealed == 0


def test_a_lost_packet_is_one_concealed_frame_with_a_number_of_its_own():
    call = Call()
    call.begin()
    call.talk(1, 10)
    call.tick(4)
    call.talk(12, 10)
    call.tick(4)
    assert call.heard[:22] == [*range(1, 12), None, *range(13, 23)]
    assert call.seqs == list(range(len(call.seqs)))
    assert call.uplink.concealed <= 2


def test_a_silent_caller_costs_no_waiting_and_keeps_the_clock():
    call = Call()
    call.begin()
    call.tick(400)
    ticks = [tick for tick, _, _ in call.bot.frames]
    assert len(ticks) in (100, 101)
    assert set(np.diff(ticks[3:]).tolist()) == {4}


def test_after_a_short_stall_every_frame_is_delivered_one_a_tick():
    call = Call()
    call.begin()
    call.talk(1, 10)
    for n in range(11, 19):
        call.say(n)
    call.number += 31  # 160 ms
    call.tick(10)
    assert call.heard[:19] == list(range(1, 20))
    assert call.uplink.left_out == 0


def test_after_a_long_stall_what_is_older_than_200_ms_is_a_jump_of_the_sequence():
    call = Call()
    call.begin()
    call.talk(1, 10)
    for n in range(11, 61):
        call.say(n)
    call.number += 199  # one second
    call.tick(20)
    numbers = [frame for frame in call.heard if frame is not None]
    assert 38 <= call.uplink.left_out <= 40
    assert numbers[:11] == list(range(1, 12))
    assert numbers[11:] == list(range(numbers[11], 62))
    jumps = [b - a for a, b in zip(call.seqs[:-1], call.seqs[1:], strict=True)]
    assert sorted(jumps)[-1] == call.uplink.left_out + 1
    assert numbers[11] - numbers[10] == call.uplink.left_out + 1  # audio and sequence numbers skip the same


def test_a_clock_that_is_needlessly_late_moves_back():
    call = Call()
    call.begin()
    call.talk(1, 10)
    call.tick(7)  # one packet late by 15 ms moves the clock
    call.say(11)
    call.tick()
    call.number -= 1
    for n in range(12, 500):  # all the others are on time again
        call.tick(1 if n == 12 else 4)
        call.say(n)
    delays = [tick - 1 - 4 * seq for tick, seq, _ in call.bot.frames[-20:]]
    assert max(delays) <= 1


@pytest.mark.parametrize("frame_ms", [10, 40, 60])
def test_any_bot_frame_gets_the_same_bytes(frame_ms):
    wire = AudioFormat(Codec.PCMU, 8000, frame_ms)
    call = Call(wire)
    payloads = []
    take = call.bot.uplink

    def keep(block, tick):
        if not block.flags.any():
            payloads.append(block.payload.tobytes())
        return take(block, tick)

    call.bot.uplink = keep
    call.begin()
    call.talk(1, 59)
    call.tick(40)
    audio = b"".join(payloads)
    assert audio == b"".join(bytes([n + 1]) * 160 for n in range(60))


def test_a_modified_call_goes_on_with_its_numbers():
    call = Call()
    call.begin()
    call.talk(1, 10)
    call.uplink.open(ROW, WIRE, keep_seq=True)
    call.talk(11, 10)
    assert call.seqs == list(range(21))
