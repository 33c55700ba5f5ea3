"""The jitter buffer plays each packet at the place of its timestamp."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sipgw.rtp.jitter_buffer import JitterBuffer
from sipgw.rtp.kernels.columns import new_calls

FRAME = 160
SILENCE = 0xFF
ROW = np.array([1])


class Caller:
    """Row 1 of a buffer, one packet and one frame at a time."""

    def __init__(self, first_timestamp=1000):
        self.buffer = JitterBuffer(new_calls(3))
        self.buffer.open(1, silence=SILENCE, now_s=0.0)
        self.first = first_timestamp
        self.now_s = 0.0

    def send(self, number, length=FRAME, at=None):
        """Send packet `number`; each of its bytes is number + 1."""
        timestamp = (self.first + (number * length if at is None else at)) & 0xFFFFFFFF
        header = np.array([[number & 0xFFFF, timestamp, 0]], np.int64)
        self.buffer.write(ROW, header, np.full((1, length), (number + 1) % 251, np.uint8), self.now_s)

    def take(self, length=FRAME):
        self.now_s += length / 8000
        payload, concealed = self.buffer.take(ROW, length, self.now_s)
        return None if concealed[0] else payload[0].tolist()

    def heard(self, frames):
        """Return the packet at the end of each frame, since a frame's beginning is faded in after a hole."""
        return [None if (f := self.take()) is None else f[-1] - 1 for _ in range(frames)]


def test_frames_come_in_the_order_of_their_timestamps():
    caller = Caller()
    for number in (0, 2, 1, 3):
        caller.send(number)
    assert caller.heard(5) == [0, 1, 2, 3, None]


def test_timestamps_wrap():
    caller = Caller(first_timestamp=0xFFFFFFFF - 200)
    for number in range(4):
        caller.send(number)
    assert caller.heard(4) == [0, 1, 2, 3]


def test_a_lost_packet_is_concealed_and_what_follows_keeps_its_place():
    caller = Caller()
    for number in (0, 1, 3):
        caller.send(number)
    assert caller.heard(4) == [0, 1, None, 3]


def test_a_late_packet_is_heard_when_nothing_newer_was():
    caller = Caller()
    caller.send(0)
    assert caller.heard(2) == [0, None]
    caller.send(1)  # it was due in the period just concealed
    caller.send(2)
    assert caller.heard(2) == [1, 2]


def test_a_packet_passed_by_newer_audio_is_lost():
    caller = Caller()
    caller.send(0)
    caller.send(2)
    assert caller.heard(3) == [0, None, 2]
    caller.send(1)
    caller.send(3)
    assert caller.heard(2) == [None, 3]  # a later packet that is as late will be heard
    assert caller.buffer.late[1] == 1


def test_a_sender_whose_timestamps_jump_back_is_heard_again():
    caller = Caller(first_timestamp=5_000_000)
    caller.send(0)
    assert caller.heard(1) == [0]
    for number in range(1, 4):
        caller.send(number, at=number * FRAME - 4_000_000)
    assert caller.heard(3) == [1, 2, 3]


def test_duplicates_change_nothing():
    caller = Caller()
    for number in (0, 0, 1, 1, 0):
        caller.send(number)
    assert caller.heard(3) == [0, 1, None]


def test_another_ssrc_follows_what_is_here():
    caller = Caller()
    caller.send(0)
    caller.buffer.calls["jitter"]["mapped"][ROW] = False
    caller.first = 77
    caller.send(1)
    caller.send(2)
    assert caller.heard(3) == [0, 1, 2]


@pytest.mark.parametrize("length", [80, 240, 320, 100])
def test_any_packet_time_gives_the_same_bytes(length):
    caller = Caller()
    count = 1600 // length
    for number in range(count):
        caller.send(number, length)
    total = length * count
    got = [byte for _ in range(-(-total // FRAME)) for byte in (caller.take() or [SILENCE] * FRAME)]
    assert got[:total] == [number + 1 for number in range(count) for _ in range(length)]


@settings(max_examples=60, deadline=None)
@given(st.permutations(range(12)), st.integers(0, 0xFFFFFFFF))
def test_any_order_within_the_ring_gives_all_in_order(order, first):
    caller = Caller(first)
    caller.send(0)
    for number in order:
        caller.send(number)
    assert caller.heard(12) == list(range(12))


def test_rows_do_not_touch_each_other():
    buffer = JitterBuffer(new_calls(4))
    for row in range(4):
        buffer.open(row, silence=row, now_s=0.0)
    rows = np.array([0, 2])
    headers = np.array([[5, 5, 0], [9, 9, 1]], np.int64)
    buffer.write(rows, headers, np.array([[50] * FRAME, [60] * FRAME], np.uint8), 0.0)
    payload, concealed = buffer.take(np.arange(4), FRAME, 0.02)
    assert payload[:, 0].tolist() == [50, 1, 60, 3]
    assert concealed.tolist() == [False, True, False, True]
