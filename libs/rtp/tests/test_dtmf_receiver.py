"""DtmfReceiver hears the keys of packets, given as (seconds, sequence, timestamp, duration, end)."""

import random

import pytest

from sipgw.rtp import DigitEnded, DigitEvent, DigitStarted, DtmfReceiver, RtpParseError, TelephoneEvent
from sipgw.rtp.telephone_event import DIGITS

PRESS = [(160, False), (320, False), (480, False), (640, False), (800, True), (800, True), (800, True)]


class Line:
    """A telephone line that sends key presses and collects the digits that the receiver hears."""

    def __init__(
        self, receiver: DtmfReceiver | None = None, sequence: int = 100, timestamp: int = 8000
    ) -> None:
        self.receiver = receiver or DtmfReceiver()
        self.sequence, self.timestamp, self.now = sequence, timestamp, 0.0
        self.source = 1
        self.heard: list[DigitEvent] = []

    def packet(
        self,
        digit: str,
        duration: int,
        *,
        end: bool = False,
        marker: bool = False,
        lost: bool = False,
        **at: int,
    ) -> None:
        payload = TelephoneEvent(DIGITS.index(digit), end, 10, duration).to_bytes()
        self.sequence = (self.sequence + 1) & 0xFFFF
        self.now += 0.02
        if not lost:
            timestamp = at.get("timestamp", self.timestamp) & 0xFFFFFFFF
            sequence = at.get("sequence", self.sequence)
            self.receiver.receive_packet(
                payload,
                timestamp=timestamp,
                sequence=sequence,
                marker=marker,
                now=self.now,
                source=self.source,
            )
        self.drain()

    def press(self, digit: str, *, marker: bool = True, lost: tuple[int, ...] = ()) -> None:
        for index, (duration, end) in enumerate(PRESS):
            self.packet(digit, duration, end=end, marker=marker and index == 0, lost=index in lost)
        self.timestamp += 1600
        self.now += 0.06

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.receiver.handle_timer(self.now)
        self.drain()

    def drain(self) -> None:
        while event := self.receiver.next_event():
            self.heard.append(event)

    @property
    def digits(self) -> str:
        """Return the digits that ended; each must have started once, just before."""
        pairs = list(zip(self.heard[::2], self.heard[1::2], strict=True))
        assert all(
            isinstance(a, DigitStarted) and isinstance(b, DigitEnded) and a.digit == b.digit for a, b in pairs
        )
        return "".join(started.digit for started, _ in pairs)


@pytest.fixture
def line() -> Line:
    return Line()


def test_a_payload_reads_back():
    event = TelephoneEvent(11, True, 63, 65535)
    assert event.to_bytes() == bytes.fromhex("0bbfffff")
    assert TelephoneEvent.parse(event.to_bytes() + b"more") == event
    assert event.digit == "#"
    with pytest.raises(RtpParseError):
        TelephoneEvent.parse(b"\1\2\3")


def test_a_press_starts_once_and_ends_once_with_its_length(line: Line):
    line.press("5")
    assert line.heard == [DigitStarted("5"), DigitEnded("5", 100)]


def test_all_sixteen_keys_are_heard_in_order(line: Line):
    for digit in DIGITS:
        line.press(digit)
    assert line.digits == DIGITS


@pytest.mark.parametrize("marker", [True, False])
def test_the_same_key_twice_is_two_digits_with_marker_or_without(line: Line, marker: bool):
    line.press("1", marker=marker)
    line.press("1", marker=marker)
    assert line.digits == "11"


@pytest.mark.parametrize("lost", [(0,), (0, 1, 2, 3), (4, 5), (5, 6), (1, 3, 4), (0, 1, 2, 3, 4, 5)])
def test_any_packet_of_the_end_is_enough(line: Line, lost: tuple[int, ...]):
    line.press("7", lost=lost)
    assert line.heard == [DigitStarted("7"), DigitEnded("7", 100)]


def test_a_lost_end_is_closed_by_the_next_key(line: Line):
    line.press("1", lost=(4, 5, 6))
    assert line.heard == [DigitStarted("1")]
    line.press("2")
    assert line.heard[1:] == [DigitEnded("1", 80), DigitStarted("2"), DigitEnded("2", 100)]


def test_a_lost_end_is_closed_by_timeout(line: Line):
    line.press("1", lost=(4, 5, 6))
    due = line.receiver.next_timer()
    assert due == pytest.approx(0.08 + 0.5)
    line.receiver.handle_timer(due - 0.001)
    line.drain()
    assert line.heard == [DigitStarted("1")]
    line.receiver.handle_timer(due)
    line.drain()
    assert line.heard == [DigitStarted("1"), DigitEnded("1", 80)]
    assert line.receiver.next_timer() is None


def test_packets_after_the_timeout_are_no_second_press(line: Line):
    line.packet("1", 160, marker=True)
    line.wait(1.0)
    line.packet("1", 320)
    line.packet("1", 480, end=True)
    assert line.heard == [DigitStarted("1"), DigitEnded("1", 20)]


def test_a_late_packet_of_an_earlier_key_is_passed_over(line: Line):
    line.press("1")
    first = line.timestamp - 1600
    line.packet("2", 160, marker=True)
    line.packet("1", 800, end=True, timestamp=first, sequence=line.sequence - 3)
    line.packet("2", 320, end=True)
    assert line.digits == "12"


def test_a_key_that_a_newer_one_has_passed_altogether_is_passed_over(line: Line):
    line.packet("2", 160, timestamp=20_000)
    line.packet("1", 800, end=True, timestamp=18_000, sequence=line.sequence - 8)
    line.packet("2", 320, end=True, timestamp=20_000)
    assert line.digits == "2"


def test_updates_in_the_wrong_order_leave_the_longest(line: Line):
    line.packet("3", 160, sequence=10)
    line.packet("3", 480, sequence=12)
    line.packet("3", 320, sequence=11)
    line.packet("3", 640, sequence=13, end=True)
    assert line.heard == [DigitStarted("3"), DigitEnded("3", 80)]


def test_a_key_held_through_several_segments_is_one_digit(line: Line):
    start = line.timestamp
    for segment in range(3):
        for duration in range(1600, 65536, 1600):
            line.packet(
                "9", duration, marker=segment == 0 and duration == 1600, timestamp=start + 65535 * segment
            )
        line.packet("9", 65535, timestamp=start + 65535 * segment)
    line.packet("9", 800, end=True, timestamp=start + 3 * 65535)
    assert line.heard == [DigitStarted("9"), DigitEnded("9", round((3 * 65535 + 800) / 8))]


def test_a_duration_that_goes_round_within_its_timestamp_is_one_digit(line: Line):
    for duration in range(1600, 2 * 65536 + 8000, 1600):
        line.packet("9", duration & 0xFFFF)
    line.packet("9", 8000, end=True)
    assert line.heard == [DigitStarted("9"), DigitEnded("9", round((2 * 65536 + 8000) / 8))]


def test_the_same_key_again_after_a_long_one_is_another_digit(line: Line):
    for duration in range(1600, 65536, 1600):
        line.packet("9", duration)
    line.packet("9", 160, marker=True, timestamp=line.timestamp + 65535)
    line.packet("9", 320, end=True, timestamp=line.timestamp + 65535)
    assert line.digits == "99"


def test_timestamps_and_sequence_numbers_go_round():
    line = Line(sequence=0xFFFD, timestamp=0xFFFFFFFF - 1700)
    for digit in "123":
        line.press(digit)
    assert line.digits == "123"


def test_a_sender_that_begins_anew_far_back_is_heard(line: Line):
    line.timestamp = 3_000_000_000
    line.press("1")
    line.timestamp = 1_000_000_000
    line.press("2")
    assert line.digits == "12"


def test_another_source_closes_the_key_and_has_timestamps_of_its_own(line: Line):
    line.packet("1", 160)
    line.source = 2
    line.packet("1", 160)
    assert line.heard == [DigitStarted("1"), DigitEnded("1", 20), DigitStarted("1")]
    line.packet("1", 320, end=True)
    assert line.digits == "11"


def test_what_is_no_key_is_passed_over(line: Line):
    for payload in (
        b"",
        b"\1",
        TelephoneEvent(16, False, 0, 160).to_bytes(),
        TelephoneEvent(255, True, 0, 0).to_bytes(),
    ):
        line.receiver.receive_packet(payload, timestamp=5, sequence=5, marker=True, now=0.0)
    line.drain()
    assert line.heard == []
    assert line.receiver.next_timer() is None


def test_a_clock_of_16_khz_gives_milliseconds():
    line = Line(DtmfReceiver(clock_rate_hz=16000))
    line.packet("1", 1600, end=True)
    assert line.heard == [DigitStarted("1"), DigitEnded("1", 100)]


def test_random_loss_and_duplicates_never_make_a_digit_twice():
    chance = random.Random(4733)
    for _ in range(300):
        line = Line()
        pressed = "".join(chance.choice(DIGITS) for _ in range(5))
        surely_heard = ""
        for digit in pressed:
            lost = tuple(index for index in range(7) if chance.random() < 0.4)
            surely_heard += digit if len(lost) < 7 else ""
            line.press(digit, lost=lost)
        line.wait(2.0)
        assert line.digits == surely_heard


def test_random_packets_keep_starts_and_ends_in_pairs():
    chance = random.Random(2833)
    line = Line()
    for _ in range(5000):
        payload = bytes(chance.randrange(256) for _ in range(chance.choice((3, 4, 4, 4, 8))))
        line.receiver.receive_packet(
            bytes([chance.randrange(20)]) + payload[1:],
            timestamp=chance.choice((chance.randrange(2**32), chance.randrange(100) * 160)),
            sequence=chance.randrange(2**16),
            marker=chance.random() < 0.5,
            now=line.now,
        )
        line.now += 0.01
        line.receiver.handle_timer(line.now)
        line.drain()
    line.wait(1.0)
    assert len(line.digits) > 100
