"""RTP to callers at the relay's own clock, in virtual time."""

import itertools
import socket
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sipgw.audio import AudioFormat, Codec
from sipgw.media_relay.kernels.transmit import MOST_LATE
from sipgw.media_relay.pipeline import Tick
from sipgw.media_relay.pipeline.pipeline import MediaPipeline
from sipgw.media_relay.rtp.playout import PlayoutQueue
from sipgw.media_relay.rtp.transmitter import Transmitter
from sipgw.rtp import DtmfSender, RtpPacket, TelephoneEvent
from sipgw.rtp.kernels import library
from sipgw.rtp.kernels.columns import new_calls

ROWS = 8
IDLE = b"\xff" * 160


class Callers:
    """A transmitter of all rows, with the packets that each row got as (tick, packet)."""

    def __init__(self, rows=(0,), ptime_ms=20, stages=()):
        self.playout = PlayoutQueue(new_calls(max(ROWS, len(rows))))
        self.transmitter = Transmitter(self.playout, MediaPipeline(stages))
        self.got = {row: [] for row in rows}
        self.number = 0
        for row in rows:
            self.open(row, ptime_ms)

    def open(self, row, ptime_ms=20):
        self.playout.open(row, silence=0xFF, is_live=True, now_s=0.0)
        self.transmitter.open(row)
        self.configure(row, ptime_ms)
        self.transmitter.set_sender(row, lambda data: self._take(row, bytes(data)))
        self.transmitter.start(row, self.number)

    def configure(self, row, ptime_ms=20, *, is_sending=True):
        wire = AudioFormat(Codec.PCMU, 8000, ptime_ms)
        self.transmitter.configure(row, wire, payload_type=0, is_sending=is_sending)

    def play(self, row, *values, length=160):
        for value in values:
            self.playout.play_frames(np.array([row], np.uint32), np.full((1, length), value, np.uint8))

    def tick(self, count=1):
        for _ in range(count):
            self.number += 1
            self.transmitter.run(Tick(self.number, self.number * 0.005))

    def stall(self, ticks):
        self.number += ticks
        self.tick()

    def _take(self, row, data):
        self.got[row].append((self.number, RtpPacket.parse(data)))

    def packets(self, row=0):
        return [packet for _, packet in self.got[row]]


def steps(packets):
    return [
        ((b.sequence - a.sequence) & 0xFFFF, (b.timestamp - a.timestamp) & 0xFFFFFFFF)
        for a, b in itertools.pairwise(packets)
    ]


def lateness(got):
    """Return the lateness of each packet in packet times; the first is on time."""
    (first_tick, first), *_ = got
    return [
        (tick - first_tick - ((packet.timestamp - first.timestamp) & 0xFFFFFFFF) / 40) / 4
        for tick, packet in got
    ]


@pytest.mark.parametrize("ptime_ms", [10, 20, 30, 40, 60])
def test_packets_leave_once_a_packet_time_with_even_steps(ptime_ms):
    callers = Callers(ptime_ms=ptime_ms)
    callers.tick(240)
    ticks = [tick for tick, _ in callers.got[0]]
    assert set(np.diff(ticks).tolist()) == {ptime_ms // 5}
    assert set(steps(callers.packets())) == {(1, ptime_ms * 8)}
    assert [p.marker for p in callers.packets()] == [True] + [False] * (len(ticks) - 1)


def test_silence_is_sent_when_the_bot_has_nothing_and_its_words_whole_when_it_has():
    callers = Callers()
    callers.tick(8)
    callers.play(0, 1, 2)
    callers.tick(16)
    payloads = [packet.payload for packet in callers.packets()]
    assert payloads == [IDLE, IDLE, b"\x01" * 160, b"\x02" * 160, IDLE, IDLE]


def test_few_calls_share_a_tick_and_many_are_spread_over_the_phases():
    callers = Callers(rows=range(256))
    callers.tick(8)
    first = [callers.got[row][0][0] for row in range(256)]
    assert len(set(first[:32])) == 1
    assert Counter(first) == {1: 64, 2: 64, 3: 64, 4: 64}


def test_each_call_has_an_ssrc_and_beginnings_of_its_own():
    callers = Callers(rows=range(8))
    callers.tick(8)
    firsts = [callers.packets(row)[0] for row in range(8)]
    assert len({packet.ssrc for packet in firsts}) == 8
    assert len({packet.timestamp for packet in firsts}) == 8


@pytest.mark.parametrize("stalled", [8, 20, 100, 2000])
def test_after_a_stall_at_most_two_late_packets_and_then_time_goes_on(stalled):
    callers = Callers()
    callers.tick(20)
    before = callers.packets()[-1]
    sent = len(callers.got[0])
    callers.stall(stalled)
    callers.tick(7)
    late = callers.packets()[sent:]
    assert sum(packet_times >= 1 for packet_times in lateness(callers.got[0])) <= MOST_LATE
    assert (late[0].sequence - before.sequence) & 0xFFFF == 1
    assert (late[0].timestamp - before.timestamp) & 0xFFFFFFFF == 160 * (callers.transmitter.skipped + 1)
    assert late[0].marker == (callers.transmitter.skipped > 0)
    sent = len(callers.got[0])
    callers.tick(400)
    assert len(callers.got[0]) - sent == 100  # real time again, and no faster
    assert max(lateness(callers.got[0])[sent:]) == 0


def test_a_stall_leaves_nothing_between_the_clock_and_the_timestamps():
    callers = Callers()
    callers.tick(4)
    first_tick, first = callers.got[0][0]
    callers.stall(333)
    callers.tick(40)
    tick, last = callers.got[0][-1]
    assert (last.timestamp - first.timestamp) & 0xFFFFFFFF == (tick - first_tick) * 40


def test_on_hold_nothing_is_sent_and_the_sequence_waits():
    callers = Callers()
    callers.tick(8)
    before = callers.packets()[-1]
    callers.configure(0, is_sending=False)
    callers.play(0, 1, 2, 3)
    callers.tick(20)
    assert callers.packets()[-1] is before
    assert callers.playout.played[0] == 0
    assert callers.playout.consumed(np.array([0]))[0] == 3 * 160
    callers.configure(0)
    callers.tick(4)
    after = callers.packets()[-1]
    assert (after.sequence - before.sequence) & 0xFFFF == 1
    assert (after.timestamp - before.timestamp) & 0xFFFFFFFF == 160 * 6


def test_keys_replace_audio_which_waits():
    callers = Callers()
    callers.tick(4)
    callers.transmitter.send_digits(0, DtmfSender("5"), payload_type=101, clock_rate_hz=8000)
    callers.play(0, 7)
    callers.tick(80)
    packets = callers.packets()
    keys = [packet for packet in packets if packet.payload_type == 101]
    assert {TelephoneEvent.parse(packet.payload).event for packet in keys} == {5}
    assert len({packet.timestamp for packet in keys}) == 1
    assert keys[0].marker
    assert [packet.payload for packet in packets if packet.payload[0] == 7] == [b"\x07" * 160]
    assert {sequence for sequence, _ in steps(packets)} == {1}


def test_one_caller_who_cannot_be_sent_to_harms_no_other():
    callers = Callers(rows=(0, 4))

    def refuse(_datagram):
        raise ConnectionRefusedError

    callers.transmitter.set_sender(0, refuse)
    callers.tick(40)
    assert len(callers.got[4]) == 10
    assert callers.transmitter.send_errors == 10


def test_a_caller_nobody_knows_the_address_of_is_not_sent_to():
    callers = Callers()
    callers.transmitter.set_sender(0, None)
    callers.tick(8)
    assert callers.got[0] == []


def test_a_stage_may_replace_what_is_sent():
    class Loud:
        def uplink(self, block, tick):
            return block

        def downlink(self, block, tick):
            block.payload[:] = 9
            return block

    callers = Callers(stages=(Loud(),))
    callers.tick(4)
    assert callers.packets()[0].payload == b"\x09" * 160


def test_the_bots_first_word_is_told_once():
    callers = Callers()
    callers.tick(8)
    assert callers.transmitter.spoke == []
    callers.play(0, 1, 2)
    callers.tick(20)
    assert callers.transmitter.spoke == [0]


def test_mixed_packet_times_go_out_together():
    callers = Callers(rows=(0,))
    callers.got |= {1: [], 2: []}
    callers.open(1, 30)
    callers.open(2, 60)
    callers.tick(120)
    assert [len(callers.got[row]) for row in (0, 1, 2)] == [30, 20, 10]
    assert {len(packet.payload) for packet in callers.packets(1)} == {240}


@pytest.mark.parametrize("way", ["compiled", "python"])
def test_a_connected_socket_gets_the_same_packets_as_any_other_sender(way, monkeypatch):
    monkeypatch.setattr(library, "IS_PYTHON", way == "python")
    callers = Callers(rows=(0, 4))
    caller, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    callers.transmitter.set_sender(4, ours.send, ours.fileno())
    for column in ("sequence", "timestamp", "ssrc"):
        for row in (0, 4):
            callers.playout.calls["sending"][column][row] = (
                0xFFFF if column == "sequence" else 0xFFFFFFFF - 500
            )
    for row in (0, 4):
        callers.play(row, 1, 2, 3)
    callers.tick(40)
    got = [RtpPacket.parse(caller.recv(2048)) for _ in range(10)]
    assert got == callers.packets(0)
    caller.close()
    callers.play(4, 1)
    callers.tick(4)
    assert callers.transmitter.send_errors == 1
    ours.close()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.sampled_from(["tick", "tick", "tick", "play", "burst", "clear", "stall", "hold", "resume"]),
        max_size=80,
    )
)
def test_compiled_and_as_python_the_kernels_send_the_same(steps):
    ends = []
    for is_python in (False, True):
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(library, "IS_PYTHON", is_python)
            patched.setattr("secrets.randbits", lambda bits: bits * 1000 + 7)
            callers = Callers(rows=(0, 1))
            marks = []
            for n, step in enumerate(steps):
                match step:
                    case "tick":
                        callers.tick(4)
                    case "play":
                        callers.play(0, n % 120, (n + 1) % 120)
                    case "burst":
                        callers.playout.play_bytes(0, bytes([n % 120]) * 15_000)
                        callers.playout.mark(
                            0, lambda *, was_cleared, n=n, to=marks: to.append((n, was_cleared))
                        )
                    case "clear":
                        callers.playout.clear(0)
                    case "stall":
                        callers.stall(30)
                    case _:
                        callers.configure(1, is_sending=step == "resume")
            calls = callers.playout.calls
            ends.append((callers.got, marks, calls["playout"].tolist(), calls["sending"].tolist()))
    assert ends[0] == ends[1]
