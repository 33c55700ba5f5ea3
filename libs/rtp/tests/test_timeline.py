"""The voice is heard whole and on time on networks and phones that misbehave. Virtual time."""

import random
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sipgw.rtp.jitter_buffer import JitterBuffer
from sipgw.rtp.kernels import placement, transit
from sipgw.rtp.kernels.columns import new_calls

FRAME, FRAME_MS, SILENCE = 160, 20, 0xFF
ROW = np.array([0])
PHASES_MS = (1, 11)  # of our clock against the caller's


@dataclass(frozen=True)
class Packet:
    number: int
    at_ms: float
    sequence: int
    timestamp: int
    marker: bool = False


def even(count):
    """Return the packets of a well-behaved phone; sequence numbers and timestamps wrap on the way."""
    return [
        Packet(n, n * FRAME_MS, (65_500 + n) & 0xFFFF, (0xFFFF_F000 + n * FRAME) & 0xFFFF_FFFF)
        for n in range(count)
    ]


def late(packets, delay_ms):
    return [replace(each, at_ms=each.at_ms + delay_ms(each.number)) for each in packets]


def leapt(packets, by, *, first=50):
    """Return the packets with timestamps that leap from packet `first` on."""
    return [
        replace(each, timestamp=(each.timestamp + by) & 0xFFFF_FFFF) if each.number >= first else each
        for each in packets
    ]


class Heard:
    """The delay of each packet that was heard. A packet heard twice or out of order is an error."""

    def __init__(self, packets, phase_ms=3, *, after_ms=400):
        buffer = JitterBuffer(new_calls(1))
        buffer.open(0, silence=SILENCE, now_s=0.0)
        sent = {each.number: each.number * FRAME_MS for each in packets}
        waiting = sorted(packets, key=lambda each: each.at_ms)
        self.delay_ms, self.concealed_at_ms, self.buffer = {}, [], buffer
        now_ms, end_ms, last = phase_ms, waiting[-1].at_ms + after_ms, -1
        while now_ms < end_ms:
            while waiting and waiting[0].at_ms <= now_ms:
                each = waiting.pop(0)
                payload = np.tile(
                    np.array([each.number % 200, each.number // 200], np.uint8), (1, FRAME // 2)
                )
                header = np.array([[each.sequence, each.timestamp, each.marker]], np.int64)
                buffer.write(ROW, header, payload, each.at_ms / 1000)
            frame, concealed = buffer.take(ROW, FRAME, now_ms / 1000)
            if concealed[0]:
                self.concealed_at_ms.append(now_ms)
            elif frame[0, -1] != SILENCE:  # a frame's first bytes are faded in after a hole
                number = int(frame[0, -1]) * 200 + int(frame[0, -2])
                assert number > last, f"{number} was heard after {last}"
                last = number
                self.delay_ms[number] = now_ms - sent[number]
            now_ms += FRAME_MS

    @property
    def debt(self):
        return int(self.buffer.calls["jitter"]["debt"][0])

    def lost(self, numbers):
        return [number for number in numbers if number not in self.delay_ms]


LEAPS = [8000, 9600, 40_000, 1_000_000, -2400, -8000, -48_000, 160, -160, 2**31 - 1]


@pytest.mark.parametrize("by", LEAPS)
@pytest.mark.parametrize("phase_ms", PHASES_MS)
def test_where_only_timestamps_leap_every_packet_is_heard_at_once(by, phase_ms):
    heard = Heard(leapt(even(150), by), phase_ms)
    assert not heard.lost(range(150))
    assert max(heard.delay_ms.values()) <= FRAME_MS
    assert len(heard.concealed_at_ms) <= 20  # all after the last packet


@pytest.mark.parametrize("steps", [0, 80, 320, 161, 159])
def test_timestamps_of_another_rate_cost_nothing(steps):
    """A clock of 16 kHz or 4 kHz, one that stands, one that wavers."""
    packets = [replace(each, timestamp=5000 + each.number * steps) for each in even(150)]
    heard = Heard(packets)
    assert not heard.lost(range(150))
    assert max(heard.delay_ms.values()) <= FRAME_MS


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 148), st.integers(-(2**31), 2**31 - 1)), max_size=6))
def test_any_leaps_of_an_unbroken_sequence_cost_nothing(leaps):
    packets = even(150)
    for first, by in leaps:
        packets = leapt(packets, by, first=first)
    heard = Heard(packets)
    assert not heard.lost(range(150))
    assert max(heard.delay_ms.values()) <= FRAME_MS


def test_a_packet_sent_before_a_leap_that_comes_after_it_keeps_its_place():
    packets = late(leapt(even(150), 8000), lambda n: 45 if n % 2 and n < 120 else 0)
    heard = Heard(packets)
    assert not heard.lost(range(2, 150))


def test_packets_lost_beside_a_leap_cost_only_themselves():
    packets = [each for each in leapt(even(150), -48_000) if each.number not in (49, 50, 70)]
    heard = Heard(packets)
    assert heard.lost(range(150)) == [49, 50, 70]
    assert max(heard.delay_ms.values()) <= FRAME_MS


@pytest.mark.parametrize("pause_ms", [100, 300, 700, 1000, 5000])
@pytest.mark.parametrize("counted", [0.0, 1.0, 0.5])
@pytest.mark.parametrize("marker", [False, True])
def test_a_talk_spurt_is_heard_when_it_comes_whatever_its_timestamp_counted(pause_ms, counted, marker):
    """The sender paused between packets 49 and 50, and counted all, half or none of the pause."""
    packets = [
        replace(
            each,
            at_ms=each.at_ms + pause_ms,
            timestamp=(each.timestamp + int(pause_ms * 8 * counted)) & 0xFFFF_FFFF,
            marker=marker and each.number == 50,
        )
        if each.number >= 50
        else each
        for each in even(150)
    ]
    heard = Heard(packets)
    assert not heard.lost(range(150))
    assert max(late_by for n, late_by in heard.delay_ms.items() if n >= 50) - pause_ms <= FRAME_MS


def test_a_marker_places_a_talk_spurt_now_though_its_timestamp_is_in_order():
    """The timestamp rises by 200 ms for a silence that took no time."""
    packets = [replace(each, marker=True) if each.number % 50 == 0 else each for each in even(150)]
    heard = Heard(leapt(packets, 1600), phase_ms=1)
    assert not heard.lost(range(150))
    assert max(heard.delay_ms.values()) <= FRAME_MS


def test_a_marker_places_a_talk_spurt_now_though_numbers_are_missing_before_it():
    """Three sequence numbers and two packet times are skipped in no time."""
    packets = [
        replace(
            each,
            sequence=(each.sequence + 3) & 0xFFFF,
            timestamp=(each.timestamp + 2 * FRAME) & 0xFFFF_FFFF,
            marker=each.number == 50,
        )
        if each.number >= 50
        else each
        for each in even(150)
    ]
    heard = Heard(packets)
    assert not heard.lost(range(150))
    assert max(heard.delay_ms.values()) <= FRAME_MS


def test_a_marker_on_every_packet_changes_nothing():
    packets = [replace(each, marker=True) for each in even(300)]
    heard = Heard([each for each in packets if each.number % 20 != 7])
    assert heard.lost(range(300)) == list(range(7, 300, 20))
    assert max(heard.delay_ms.values()) <= FRAME_MS


UNIFORM = random.Random(3)
LATE = {
    "every 10th 30 ms": lambda n: 30 * (n % 10 == 5),
    "every 10th 30 to 50 ms": lambda n: UNIFORM.uniform(30, 50) * (n % 10 == 5),
    "every 10th 50 ms": lambda n: 50 * (n % 10 == 5),
    "every 2nd 25 ms": lambda n: 25 * (n % 2),
    "every 2nd 45 ms": lambda n: 45 * (n % 2),
    "pairs swapped": lambda n: 20.5 * (n % 2),
    "every third by two places": lambda n: 41 * (n % 3 == 1),
    "every 100th 60 ms": lambda n: 60 * (n % 100 == 50),
    "0 to 40 ms": lambda n: UNIFORM.uniform(0, 40),
    "0 to 100 ms": lambda n: UNIFORM.uniform(0, 100),
}


@pytest.mark.parametrize("phase_ms", PHASES_MS)
@pytest.mark.parametrize("name", LATE)
def test_overtaken_packets_are_heard_after_the_first_second(name, phase_ms):
    heard = Heard(late(even(1000), LATE[name]), phase_ms)
    assert len(heard.lost(range(50, 1000))) <= 9, heard.lost(range(50, 1000))
    assert max(heard.delay_ms.values()) <= 180


@settings(max_examples=8, deadline=None)
@given(st.integers(2, 20), st.floats(1, 120), st.sampled_from(PHASES_MS), st.integers(0, 1 << 30))
def test_whatever_share_is_late_by_up_to_120_ms_is_heard_after_the_first_second(every, most_ms, phase, seed):
    rng = random.Random(seed)
    heard = Heard(late(even(500), lambda n: rng.uniform(0, most_ms) * (n % every == 0)), phase)
    assert len(heard.lost(range(50, 500))) <= 9


@pytest.mark.parametrize("phase_ms", PHASES_MS)
def test_a_clean_network_adds_nothing(phase_ms):
    heard = Heard(even(1000), phase_ms)
    assert set(heard.delay_ms.values()) == {phase_ms}
    assert not heard.lost(range(1000))


def test_packets_that_come_twice_add_nothing():
    twice = [*even(500), *late(even(500), lambda _: 47)]
    heard = Heard(twice)
    assert set(heard.delay_ms.values()) == {3}
    assert heard.buffer.late[0] == 0


def test_a_network_that_is_good_again_is_owed_the_depth():
    heard = Heard(late(even(1200), lambda n: 50 * (n % 10 == 5 and n < 300)))
    assert heard.delay_ms[299] >= 50
    assert heard.debt // FRAME == 3


def test_a_network_that_is_late_now_and_then_is_not_owed_it():
    heard = Heard(late(even(1240), lambda n: 50 * (n % 100 == 50)))
    assert heard.delay_ms[1239] >= 50
    assert heard.debt < FRAME + transit.PATIENCE


def test_a_pause_of_the_network_is_no_jitter():
    """All packets of 300 ms come at once: they are heard, and the delay is owed a second later."""
    heard = Heard(late(even(150), lambda n: max(300 - (n - 50) * FRAME_MS, 0) if n >= 50 else 0))
    assert not heard.lost(range(150))
    assert heard.debt // FRAME == heard.delay_ms[149] // FRAME_MS == 15


def test_a_burst_that_no_buffer_holds_loses_its_oldest():
    heard = Heard(
        late(even(300), lambda n: max(3000 - (n - 50) * FRAME_MS, 0) if n >= 50 else 0), after_ms=2000
    )
    oldest, others = heard.lost(range(50, 150)), heard.lost([*range(50), *range(150, 300)])
    assert oldest == list(range(oldest[0], oldest[0] + len(oldest)))
    assert len(oldest) <= 3000 // FRAME_MS - 50
    assert not others


def test_a_sender_that_begins_its_numbers_anew_is_heard_at_once():
    packets = [
        replace(each, sequence=(each.sequence + 40_000) & 0xFFFF, timestamp=each.number * FRAME + 77)
        if each.number >= 50
        else each
        for each in even(150)
    ]
    heard = Heard(packets)
    assert not heard.lost(range(150))
    assert max(heard.delay_ms.values()) <= FRAME_MS


def test_keys_between_are_no_missing_audio():
    """Key packets use sequence numbers and no timestamps; the audio after them is not delayed."""
    buffer = JitterBuffer(new_calls(1))
    buffer.open(0, silence=SILENCE, now_s=0.0)
    for n in range(10):
        buffer.write(ROW, np.array([[n, n * FRAME, 0]]), np.full((1, FRAME), n, np.uint8), n / 50)
        buffer.take(ROW, FRAME, n / 50)
    for sequence in range(10, 20):
        placement.pass_number(buffer.calls[0]["jitter"], sequence)
    buffer.write(ROW, np.array([[20, 5, 0]]), np.full((1, FRAME), 99, np.uint8), 0.2)
    assert buffer.take(ROW, FRAME, 0.2)[0][0, -1] == 99
