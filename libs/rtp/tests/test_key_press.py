"""Presses of a key are told apart, by the table of facts, for senders of the field and for random ones."""

import random
from dataclasses import dataclass
from functools import partial
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipgw.rtp import DigitEnded, DigitStarted, DtmfReceiver, TelephoneEvent
from sipgw.rtp.key_press import (
    SAME_PRESS,
    Facts,
    KeyPacket,
    Kind,
    Length,
    Order,
    Phase,
    Press,
    Stamp,
    Verdict,
    judge,
)

CLOCK = 8000

# -- the table


SAME = {
    # phase, kind: (order, stamp, length)
    "DOWN UPDATE": {"NEXT HELD GROWN", "NEXT MOVED GROWN", "LATER HELD GROWN"},
    "DOWN END": {
        "NEXT HELD GROWN",
        "NEXT MOVED GROWN",
        "LATER HELD GROWN",
        "NEXT HELD FALLEN",
        "NEXT MOVED FALLEN",
    },
    "UP UPDATE": {"NEXT HELD GROWN", "NEXT MOVED GROWN"},
    "UP END": {"NEXT HELD GROWN", "NEXT MOVED GROWN", "NEXT HELD FALLEN"},
}
ALL_FACTS: list[Facts] = list(product(Phase, Kind, Order, Stamp, Length))


def name(facts: Facts) -> str:
    return " ".join(fact.name for fact in facts)


def example(facts: Facts) -> tuple[Press, KeyPacket]:
    """A press of two packets, numbered 9 and 10, and a newer packet of its key with these facts."""
    phase, kind, order, stamp, length = facts
    first = KeyPacket(5, False, 640, 1000, 9, True, 0.0)
    second = KeyPacket(5, phase is Phase.UP, 800, 1000, 10, False, 0.02)
    duration = 960 if length is Length.GROWN else 160
    timestamp = {Stamp.HELD: 1000, Stamp.MOVED: 500, Stamp.PASSED: 3000}[stamp]
    sequence = 11 if order is Order.NEXT else 30
    packet = KeyPacket(5, kind is Kind.END, duration, timestamp, sequence, False, 0.3)
    return Press.begin(first).add(second), packet


@pytest.mark.parametrize("facts", ALL_FACTS, ids=name)
def test_the_table_says_what_is_of_the_last_press(facts: Facts):
    press, packet = example(facts)
    assert press.facts(packet, CLOCK) == facts
    phase_and_kind, rest = name(facts[:2]), name(facts[2:])  # type: ignore[arg-type]
    assert (facts in SAME_PRESS) == (rest in SAME[phase_and_kind])
    assert judge([press], packet, CLOCK) is (Verdict.SAME if facts in SAME_PRESS else Verdict.NEW)


@pytest.mark.parametrize("facts", ALL_FACTS, ids=name)
def test_another_code_or_a_marker_is_another_press_whatever_else_is_said(facts: Facts):
    press, packet = example(facts)
    other_code = KeyPacket(6, *astuple(packet)[1:])
    marked = KeyPacket(*astuple(packet)[:5], True, packet.heard_at)
    assert judge([press], other_code, CLOCK) is Verdict.NEW
    assert judge([press], marked, CLOCK) is Verdict.NEW


@pytest.mark.parametrize("facts", ALL_FACTS, ids=name)
@pytest.mark.parametrize("behind", [0, 1, 50, 100])
def test_an_older_sequence_number_is_late_whatever_else_is_said(facts: Facts, behind: int):
    press, packet = example(facts)
    late = KeyPacket(*astuple(packet)[:4], (10 - behind) & 0xFFFF, False, packet.heard_at)
    assert judge([press], late, CLOCK) is Verdict.LATE


@pytest.mark.parametrize("keys", ["55", "56", "5566"])
def test_a_source_that_numbers_each_press_anew_is_heard(keys: str):
    heard = Heard(DtmfReceiver())
    for number, key in enumerate(keys):
        packets = press(key, 1000 + 8000 * number, 0)
        for n, packet in enumerate([*packets, packets[2], packets[0]]):
            heard.feed(packet, now=number + n * 0.02)
    assert heard.digits == keys


def astuple(packet: KeyPacket):
    return (
        packet.code,
        packet.is_end,
        packet.duration,
        packet.timestamp,
        packet.sequence,
        packet.marker,
        packet.heard_at,
    )


# -- senders of the field: packets are (key, end, duration, timestamp, sequence, marker)


Sent = tuple[str, bool, int, int, int, bool]


def press(
    key: str,
    timestamp: int,
    sequence: int,
    *,
    marker: bool = True,
    updates: int = 4,
    ends: int = 3,
    rise: int = 0,
    end_rise: int = 0,
) -> list[Sent]:
    """Return the packets of a press with `updates` updates; the last update is the first end."""
    packets: list[Sent] = []
    for n in range(updates + ends - 1):
        at = timestamp + rise * n + end_rise * max(0, n - updates + 1)
        is_end = ends > 0 and n >= updates - 1
        packets.append((key, is_end, 160 * min(n + 1, updates), at, sequence + n, marker and n == 0))
    return packets


unmarked = partial(press, marker=False)


def only_ends(packets: list[Sent]) -> list[Sent]:
    return [packet for packet in packets if packet[1]]


FIELD = {
    "updates with rising timestamps": ("2", press("2", 1000, 10, rise=160)),
    "updates with rising timestamps, no marker": (
        "22",
        unmarked("2", 1000, 10, rise=160) + unmarked("2", 5000, 40, rise=160),
    ),
    "repeated ends with other timestamps": ("1", press("1", 1000, 10, end_rise=160)),
    "repeated ends whose timestamps rise by one": ("1", press("1", 1000, 10, end_rise=1)),
    "repeated ends whose timestamps leap back": ("1", press("1", 90_000, 10, end_rise=-20_000)),
    "timestamps that leap back within a press": ("1", press("1", 90_000, 10, rise=-48_000 // 4)),
    "an end of a restarted clock": (
        "1",
        [*press("1", 90_000, 10)[:3], *[("1", True, 640, 7, 13 + n, False) for n in range(3)]],
    ),
    "a standing timestamp, other keys": ("12", press("1", 1000, 10) + press("2", 1000, 20)),
    "a standing timestamp, other keys, no marker": ("12", unmarked("1", 1000, 10) + unmarked("2", 1000, 20)),
    "a standing timestamp, one key, marker": ("44", press("4", 1000, 10) + press("4", 1000, 20)),
    "a standing timestamp, one key, marker, no numbers between": (
        "44",
        press("4", 1000, 10) + press("4", 1000, 16),
    ),
    "a standing timestamp, one key, no marker": ("44", unmarked("4", 1000, 10) + unmarked("4", 1000, 20)),
    "a standing timestamp, one key, no marker, ends only": (
        "44",
        only_ends(unmarked("4", 1000, 10) + unmarked("4", 1000, 30)),
    ),
    "timestamps that leap back between keys": ("12", press("1", 100_000, 10) + press("2", 52_000, 300)),
    "timestamps that leap back between presses of one key": (
        "11",
        press("1", 100_000, 10) + press("1", 52_000, 300),
    ),
    "the same, ends only, no marker": (
        "11",
        only_ends(unmarked("1", 100_000, 10) + unmarked("1", 52_000, 300)),
    ),
    "a late copy of an ended key": (
        "12",
        [*press("1", 1000, 10), *press("2", 5000, 30), press("1", 1000, 10)[-1]],
    ),
    "late copies of all its packets, far behind": (
        "12",
        [*press("1", 1000, 10), *press("2", 5000, 300), *press("1", 1000, 10)],
    ),
    "two presses, ends only": ("11", only_ends(unmarked("1", 1000, 10) + unmarked("1", 5000, 30))),
    "two presses, one end each": (
        "11",
        [("1", True, 320, 1000, 10, False), ("1", True, 320, 5000, 30, False)],
    ),
    "two presses, the first one's ends lost": ("11", press("1", 1000, 10)[:3] + press("1", 5000, 30)),
    "the same, and the second one's marker lost": ("11", press("1", 1000, 10)[:3] + press("1", 5000, 30)[1:]),
    "every packet marked": ("11", [(*one[:5], True) for one in press("1", 1000, 10) + press("1", 5000, 30)]),
    "the first packet three times, each marked": (
        "1",
        [("1", False, 0, 1000, 10 + n, True) for n in range(3)] + unmarked("1", 1000, 13),
    ),
    "the end's duration is 0": (
        "1",
        [(*one[:2], 0, *one[3:]) if one[1] else one for one in press("1", 1000, 10)],
    ),
    "no end, no marker": ("11", unmarked("1", 1000, 10, ends=1)[:3] + unmarked("1", 5000, 40, ends=1)[:3]),
    "the first packet three times, then a standing timestamp": (
        "11",
        [("1", False, 0, 1000, 10 + n, True) for n in range(3)]
        + unmarked("1", 1000, 13)
        + press("1", 1000, 19, updates=1),
    ),
    "a sequence that restarts": ("12", press("1", 1000, 30_000) + press("2", 9000, 5)),
    "a sequence that restarts, the same key": ("11", press("1", 1000, 30_000) + press("1", 9000, 5)),
    "a sequence that goes round": ("11", press("1", 1000, 65_534) + press("1", 5000, 65_550)),
}


@dataclass
class Heard:
    """Feeds a receiver and collects the digits that ended."""

    receiver: DtmfReceiver
    now: float = 0.0
    digits: str = ""
    durations: tuple[int, ...] = ()

    def feed(self, packet: Sent, *, now: float, source: int = 1, flags: int = 10) -> None:
        key, is_end, duration, timestamp, sequence, marker = packet
        event = TelephoneEvent("0123456789*#ABCD".index(key), is_end, 0, duration).to_bytes()
        payload = bytes([event[0], event[1] | flags, *event[2:]])
        self.receiver.receive_packet(
            payload,
            timestamp=timestamp & 0xFFFFFFFF,
            sequence=sequence & 0xFFFF,
            marker=marker,
            now=now,
            source=source,
        )
        self.collect()

    def finish(self, now: float) -> None:
        self.receiver.handle_timer(now)
        self.collect()

    def collect(self) -> None:
        while (event := self.receiver.next_event()) is not None:
            if isinstance(event, DigitEnded):
                self.digits += event.digit
                self.durations += (event.duration_ms,)
            else:
                assert isinstance(event, DigitStarted)


@pytest.mark.parametrize("packet_s", [0.0, 0.02], ids=["at once", "in time"])
@pytest.mark.parametrize("case", FIELD)
def test_one_press_is_one_digit(case: str, packet_s: float):
    """Sequence numbers decide, so packets that a stall delivers at once are told apart as well."""
    wanted, packets = FIELD[case]
    heard = Heard(DtmfReceiver())
    for n, packet in enumerate(packets):
        heard.feed(packet, now=n * packet_s)
    heard.finish(99)
    assert heard.digits == wanted


def test_a_press_after_minutes_is_never_late_though_sequence_numbers_went_half_round():
    heard = Heard(DtmfReceiver())
    for n, sequence in enumerate((10, 10 + 40_000, 10 + 65_536, 65_536 * 2 + 11)):
        for i, packet in enumerate(press("1", 1000, sequence, marker=False)):
            heard.feed(packet, now=700.0 * n + 0.02 * i)
    assert heard.digits == "1111"


def test_each_source_has_numbers_of_its_own():
    heard = Heard(DtmfReceiver())
    audio, own = press("1", 50_000, 40_000), press("2", 1000, 7)
    for n, (packet, source) in enumerate([*((one, 1) for one in audio), *((one, 2) for one in own)]):
        heard.feed(packet, now=n * 0.02, source=source)
    heard.feed(audio[-1], now=0.3, source=1)
    heard.feed(own[-1], now=0.32, source=2)
    assert heard.digits == "12"


def test_a_key_held_by_one_source_ends_when_another_source_presses_one():
    heard = Heard(DtmfReceiver())
    first = press("1", 1000, 10)
    heard.feed(first[0], now=0.0, source=1)
    heard.feed(press("2", 1000, 10)[0], now=0.02, source=2)
    assert heard.digits == "1"
    for n, packet in enumerate(first[1:]):
        heard.feed(packet, now=0.04 + n * 0.02, source=1)
    heard.finish(9)
    assert heard.digits == "12"


def test_sources_that_come_and_go_are_forgotten():
    heard = Heard(DtmfReceiver())
    for source in range(1000):
        for packet in press("5", 1000, 10):
            heard.feed(packet, now=source * 0.2, source=source)
    assert heard.digits == "5" * 1000
    assert len(heard.receiver._presses) <= 4


@pytest.mark.parametrize("flags", [0, 0x3F, 0x40, 0x7F])
def test_volume_and_the_reserved_bit_say_nothing_about_the_press(flags: int):
    heard = Heard(DtmfReceiver())
    for n, packet in enumerate(press("7", 1000, 10)):
        heard.feed(packet, now=n * 0.02, flags=flags * (n % 2))
    assert (heard.digits, heard.durations) == ("7", (80,))


@pytest.mark.parametrize("rate_hz", [8000, 16000, 48000])
@pytest.mark.parametrize("rise", [0, 1], ids=["one timestamp", "rising timestamps"])
def test_any_clock_gives_a_press_once_with_its_length(rate_hz: int, rise: int):
    heard = Heard(DtmfReceiver(rate_hz))
    step = rate_hz // 50
    for begin in (0, 20):
        for n in range(6):
            duration = step * min(n + 1, 4)
            at = step * (begin + rise * n)
            heard.feed(("8", n >= 3, duration, at, begin + n, False), now=0.02 * (begin + n))
    assert (heard.digits, heard.durations) == ("88", (80, 80))


def test_a_key_held_through_segments_with_rising_sequence_gaps_is_one_digit():
    """RFC 4733 §2.5.1.3, with every third packet lost."""
    heard = Heard(DtmfReceiver())
    sequence = 0
    for segment in range(3):
        for duration in range(400, 65536, 400):
            sequence += 1
            if sequence % 3:
                heard.feed(
                    ("9", False, duration, 65535 * segment, sequence, sequence == 1), now=sequence * 0.05
                )
    heard.feed(("9", True, 800, 65535 * 3, sequence + 1, False), now=sequence * 0.05)
    assert (heard.digits, heard.durations) == ("9", (round((3 * 65535 + 800) / 8),))


# -- several events in one packet (RFC 4733 §2.5.1.5)


def blocks(*events: tuple[str, bool, int]) -> bytes:
    return b"".join(
        TelephoneEvent("0123456789*#ABCD".index(key), is_end, 10, duration).to_bytes()
        for key, is_end, duration in events
    )


def packed(*payloads: tuple[bytes, int, int]) -> str:
    heard = Heard(DtmfReceiver())
    for n, (payload, timestamp, sequence) in enumerate(payloads):
        heard.receiver.receive_packet(
            payload, timestamp=timestamp, sequence=sequence, marker=n == 0, now=n * 0.02
        )
        heard.collect()
    heard.finish(9)
    return heard.digits


def test_keys_that_share_a_packet_are_heard_once_though_it_is_repeated():
    both = blocks(("1", True, 320), ("2", True, 400), ("2", True, 400))
    assert packed((both, 1000, 5), (both, 1000, 6), (both, 1000, 6), (both, 1000, 7)) == "122"


def test_a_key_that_grows_behind_an_ended_one_is_one_key():
    began = blocks(("1", False, 160))
    both = [blocks(("1", True, 320), ("2", end, duration)) for end, duration in ((False, 80), (True, 240))]
    assert packed((began, 1000, 5), (both[0], 1000, 6), (both[1], 1000, 7), (both[1], 1000, 8)) == "12"


@pytest.mark.parametrize(
    "more",
    [
        bytes(4),
        bytes(156),
        b"more",
        b"xy",
        blocks(("2", True, 0)),
        blocks(("2", False, 160), ("3", True, 160)),
    ],
    ids=["zeros", "a frame of zeros", "text", "two bytes", "no duration", "one before the last without end"],
)
def test_bytes_behind_an_event_that_are_no_events_are_passed_over(more: bytes):
    end = blocks(("1", True, 320))
    assert packed((end + more, 1000, 5), (end + more, 1000, 6)) == "1"


def test_events_that_are_no_keys_share_a_packet_with_keys():
    flash = TelephoneEvent(16, True, 0, 800).to_bytes()
    assert (
        packed((flash + blocks(("1", True, 320)), 1000, 5), (flash + blocks(("1", True, 320)), 1000, 6))
        == "1"
    )


# -- random senders and networks


@dataclass(frozen=True)
class Habit:
    """A sender's way to number, stamp and mark its packets."""

    stamps: str
    marks: str
    step: int
    """Sequence numbers from one event packet to the next: with 2, audio goes between."""
    pause: int
    """Sequence numbers of a pause; 0: nothing is sent in pauses."""
    updates: int
    ends: int
    packet_s: float

    @property
    def is_regular(self) -> bool:
        return self.stamps == "one a press" and self.marks != "all"

    def send(self, keys: str) -> list[tuple[float, int, Sent]]:
        """Return (time, number of the press, packet)."""
        unit = round(self.packet_s * CLOCK)
        now, sequence, clock, sent = 0.0, 65_000, 1_000_000, []
        for number, key in enumerate(keys):
            begin = {"standing": 5000, "back": 1_000_000 - 48_000 * number}.get(self.stamps, clock)
            for n in range(self.updates + self.ends - 1):
                late = max(0, n - self.updates + 1)
                rise = {"rising": unit * n, "ends rise": unit * late}.get(self.stamps, 0)
                marked = self.marks == "all" or (self.marks == "first" and n == 0)
                packet = (
                    key,
                    n >= self.updates - 1,
                    unit * min(n + 1, self.updates),
                    begin + rise,
                    sequence,
                    marked,
                )
                sent.append((now, number, packet))
                now, sequence, clock = now + self.packet_s, sequence + self.step, clock + unit
            now, sequence, clock = now + 0.12, sequence + self.pause, clock + 960
        return sent


HABITS = st.builds(
    Habit,
    stamps=st.sampled_from(["one a press", "rising", "ends rise", "standing", "back"]),
    marks=st.sampled_from(["first", "none"]),
    step=st.sampled_from([1, 2, 3]),
    pause=st.sampled_from([6, 12, 300]),
    updates=st.integers(4, 12),
    ends=st.integers(3, 4),
    packet_s=st.sampled_from([0.02, 0.05]),
)
KEYS = st.text("0123456789*#ABCD", min_size=1, max_size=4) | st.sampled_from(["11", "222", "1221"])


def deliver(
    sent: list[tuple[float, int, Sent]],
    chance: random.Random,
    *,
    loss: float,
    in_a_row: int,
    late_s: float,
) -> tuple[list[tuple[float, Sent]], set[int]]:
    """Lose, delay and copy packets; return arrivals in order of time, and presses that arrived in part.

    The first press arrives whole and shows the sender's habit.
    """
    arrived: list[tuple[float, Sent]] = []
    heard: set[int] = set()
    lost = 0
    for at, number, packet in sent:
        if number and chance.random() < loss and lost < in_a_row:
            lost += 1
            continue
        lost = 0
        heard.add(number)
        delay = chance.choice((0.0, 0.0, 0.0, late_s))
        arrived.append((at + delay, packet))
        if chance.random() < 0.1:
            arrived.append((at + delay + chance.choice((0.001, 0.1, 2.0)), packet))
    return sorted(arrived, key=lambda one: one[0]), heard


def listen(arrived: list[tuple[float, Sent]]) -> str:
    heard = Heard(DtmfReceiver())
    for at, packet in arrived:
        heard.finish(at)
        heard.feed(packet, now=at)
    heard.finish(999)
    return heard.digits


@given(
    HABITS.filter(lambda habit: habit.stamps != "standing" or habit.pause >= 12), KEYS, st.integers(0, 2**32)
)
def test_the_digits_heard_are_the_digits_pressed(habit: Habit, keys: str, seed: int):
    """Every sender's digits are heard if at most two packets in a row are lost; packets may change places.

    A sender whose timestamp stands still must send something between its presses.
    """
    sent = habit.send(keys)
    late_s = habit.packet_s * 1.2
    arrived, heard = deliver(sent, random.Random(seed), loss=0.3, in_a_row=2, late_s=late_s)
    assert len(heard) == len(keys)
    assert listen(arrived) == keys


@given(HABITS.filter(lambda habit: habit.is_regular), KEYS, st.integers(0, 2**32), st.floats(0, 0.7))
def test_a_sender_that_stamps_right_is_heard_through_any_loss(
    habit: Habit, keys: str, seed: int, loss: float
):
    """Each press of which a packet arrives is one digit, and no other."""
    sent = habit.send(keys)
    arrived, heard = deliver(sent, random.Random(seed), loss=loss, in_a_row=1000, late_s=0.07)
    assert listen(arrived) == "".join(key for number, key in enumerate(keys) if number in heard)
