"""Tell one press of a key from another by its telephone-event packets (RFC 4733 §2.5).

All packets of a press should share one timestamp, but senders let it rise within a press, stand still between
presses, or leap. So no fact decides alone. The facts of a packet are named beside the press that its source
sent last, and a table says whether it belongs to that press.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from itertools import product

from sipgw.rtp.sequence import sequence_delta, timestamp_delta

_WRAP = 1 << 16
"""Durations have 16 bits."""
_SEGMENT = _WRAP - 1
"""The longest duration, at which a held key goes on in another segment."""
_LONG_AGO_S = 10
"""A source that was silent for so long has no packets on their way; its numbers may have gone round."""
_MOST_MISORDERED = 100
"""A packet further behind is a copy of one of the presses remembered, or its source numbers anew."""
_NEAR = 3
"""Steps of the sender within which no other press fits: the end comes three times."""
_NEAR_STAMPED = 6
"""The limit if the timestamp speaks against another press: some senders repeat the end more often."""
_UNKNOWN_STEP = 2
_USUAL_PACKET_S = 0.02
_SHORTEST_PAUSE_S = 0.04
_LONGEST_REPEAT_S = 0.1
"""The longest time between repeated ends, by their timestamps, for a press of any length."""


class Verdict(Enum):
    """The relation of a packet to the presses of its source."""

    SAME = "of the last press"
    NEW = "the first heard of another press"
    LATE = "older than what was heard"


class Phase(Enum):
    """The state of the last press."""

    DOWN = "no end was heard"
    UP = "an end was heard"


class Kind(Enum):
    """Whether a packet continues its press or ends it."""

    UPDATE = "goes on"
    END = "has ended"


class Order(Enum):
    """The place of the packet by its sequence number."""

    NEXT = "so near that no other press fits between"
    LATER = "further on"


class Stamp(Enum):
    """The place of the packet by its timestamp."""

    HELD = "the same, or moved just as the duration grew"
    MOVED = "elsewhere"
    PASSED = "beyond the last press, and heard when another press of this duration may have been"


class Length(Enum):
    """The duration beside that of the newest packet of the press."""

    GROWN = "not smaller, or gone round after 16 bits"
    FALLEN = "smaller"


Facts = tuple[Phase, Kind, Order, Stamp, Length]


def _rows(
    phases: Iterable[Phase], kinds: Iterable[Kind], order: Order, stamps: Iterable[Stamp], length: Length
) -> set[Facts]:
    return {(*facts[:2], order, facts[2], length) for facts in product(phases, kinds, stamps)}


SAME_PRESS: frozenset[Facts] = frozenset(
    # Nothing speaks for another press.
    _rows(Phase, Kind, Order.NEXT, (Stamp.HELD, Stamp.MOVED), Length.GROWN)
    # Packets were lost, and the timestamp says that the key was held meanwhile.
    | _rows([Phase.DOWN], Kind, Order.LATER, [Stamp.HELD], Length.GROWN)
    # The end closes a press whatever its duration; it is repeated (RFC 4733 §2.5.1.4).
    | _rows([Phase.DOWN], [Kind.END], Order.NEXT, (Stamp.HELD, Stamp.MOVED), Length.FALLEN)
    | _rows([Phase.UP], [Kind.END], Order.NEXT, [Stamp.HELD], Length.FALLEN)
)
"""The facts that show a packet to be of the last press. All others show another press."""


@dataclass(frozen=True, slots=True)
class KeyPacket:
    """The content of a telephone-event packet, and the time of its arrival."""

    code: int
    is_end: bool
    duration: int
    timestamp: int
    sequence: int
    marker: bool
    heard_at: float


@dataclass(frozen=True, slots=True)
class Habit:
    """A source's way to number and mark its packets, as far as its presses have shown it."""

    step: int | None = None
    """The fewest sequence numbers from one packet to the next: more than one where audio goes between."""
    pace: int | None = None
    """The most duration per sequence number."""
    marks_all: bool = False
    """The last two packets of a press had the marker, so that the marker proves nothing."""

    def follow(self, before: KeyPacket, after: KeyPacket) -> "Habit":
        """Return the habit after two packets of one press."""
        advance = sequence_delta(after.sequence, before.sequence)
        growth = after.duration - before.duration
        return Habit(
            step=min(advance, self.step or advance),
            pace=max(growth // advance, self.pace or 0) if growth >= advance > 0 else self.pace,
            marks_all=before.marker and after.marker,
        )


@dataclass(frozen=True, slots=True)
class Press:
    """A press, as known from the packets heard so far."""

    first: KeyPacket
    newest: KeyPacket
    """The packet with the longest duration of its segment."""
    is_up: bool
    duration: int
    """Timestamp units, counting the times that 16 bits wrapped."""
    habit: Habit

    @classmethod
    def begin(cls, packet: KeyPacket, before: "Press | None" = None) -> "Press":
        """Return a press of which the packet is the first heard; `before` is its source's last one."""
        habit = Habit() if before is None else before.habit
        return cls(packet, packet, packet.is_end, packet.duration, habit)

    def add(self, packet: KeyPacket) -> "Press":
        """Return the press after a newer packet of it."""
        growth = packet.duration - self.newest.duration
        if self._has_wrapped(packet):
            growth += _SEGMENT if self._begins_segment(packet) else _WRAP
            longest = packet.duration
        else:
            longest = max(packet.duration, self.newest.duration)
        return replace(
            self,
            newest=replace(packet, duration=longest),
            is_up=self.is_up or packet.is_end,
            duration=self.duration + max(growth, 0),
            habit=self.habit.follow(self.newest, packet),
        )

    def holds(self, packet: KeyPacket, clock_rate_hz: int) -> bool:
        """Return whether a packet that is behind is a copy, or an overtaken one, of the press."""
        if packet.code != self.first.code or packet.heard_at - self.newest.heard_at > _LONG_AGO_S:
            return False
        place = sequence_delta(packet.sequence, self.first.sequence)
        last = sequence_delta(self.newest.sequence, self.first.sequence)
        far = max(self.duration, _LONGEST_REPEAT_S * clock_rate_hz)
        is_stamped = any(
            abs(timestamp_delta(packet.timestamp, each.timestamp)) <= far
            for each in (self.first, self.newest)
        )
        return is_stamped and -_MOST_MISORDERED <= place <= last + _NEAR

    def facts(self, packet: KeyPacket, clock_rate_hz: int) -> Facts:
        """Return the facts that a newer packet of the same key shows beside the press."""
        stamp = self.stamp(packet, clock_rate_hz)
        advance = sequence_delta(packet.sequence, self.newest.sequence)
        is_grown = packet.duration >= self.newest.duration or self._has_wrapped(packet)
        return (
            Phase.UP if self.is_up else Phase.DOWN,
            Kind.END if packet.is_end else Kind.UPDATE,
            Order.NEXT if advance <= self._reach(packet, stamp, clock_rate_hz) else Order.LATER,
            stamp,
            Length.GROWN if is_grown else Length.FALLEN,
        )

    def marks_another(self, packet: KeyPacket) -> bool:
        """Return whether the packet's marker shows another press.

        It does not where the sender marks every packet: two in a row, with no end between, have it.
        """
        if not packet.marker or self.habit.marks_all:
            return False
        is_next = sequence_delta(packet.sequence, self.newest.sequence) == 1
        goes_on = packet.timestamp == self.newest.timestamp and packet.duration >= self.newest.duration
        return not (self.newest.marker and not self.is_up and is_next and goes_on)

    def _reach(self, packet: KeyPacket, stamp: Stamp, clock_rate_hz: int) -> int:
        """Return the largest step of the number for which no other press of its duration fits between.

        That press would have had a number for each update. Of the last one, three ends are missing if none
        was heard.
        """
        updates = packet.duration // (self.habit.pace or round(_USUAL_PACKET_S * clock_rate_hz))
        if stamp is Stamp.HELD:
            near = _NEAR_STAMPED * (self.habit.step or _UNKNOWN_STEP)
        else:
            near = _NEAR * (self.habit.step or 1)
        return max(near, updates if self.is_up else near + updates - 1)

    def stamp(self, packet: KeyPacket, clock_rate_hz: int) -> Stamp:
        """Judge the packet by its timestamp and the time of its arrival."""
        advance = timestamp_delta(packet.timestamp, self.newest.timestamp)
        growth = packet.duration - self.newest.duration
        if self._has_wrapped(packet):
            is_held = advance in (0, growth + _WRAP) or self._begins_segment(packet)
        else:
            is_held = advance in (0, max(growth, 0))
        if is_held:
            return Stamp.HELD
        is_beyond = advance > max(self.newest.duration, _LONGEST_REPEAT_S * clock_rate_hz)
        silence_s = packet.heard_at - self.newest.heard_at
        is_time = silence_s >= packet.duration / clock_rate_hz + _SHORTEST_PAUSE_S
        return Stamp.PASSED if is_beyond and is_time else Stamp.MOVED

    def _begins_segment(self, packet: KeyPacket) -> bool:
        """Return whether a segment begins where a full one ended (RFC 4733 §2.5.1.3)."""
        return abs(timestamp_delta(packet.timestamp, self.newest.timestamp) - _SEGMENT) <= 1

    def _has_wrapped(self, packet: KeyPacket) -> bool:
        """Return whether the duration went round: it fell by half its range, and no end was heard."""
        return not self.is_up and self.newest.duration - packet.duration > _WRAP // 2


def judge(presses: Sequence[Press], packet: KeyPacket, clock_rate_hz: int) -> Verdict:
    """Judge a packet by the presses that its source sent before, the oldest first."""
    if not presses:
        return Verdict.NEW
    last = presses[-1]
    if packet.heard_at - last.newest.heard_at > _LONG_AGO_S:
        return Verdict.NEW
    advance = sequence_delta(packet.sequence, last.newest.sequence)
    if advance <= 0:
        is_copy = any(press.holds(packet, clock_rate_hz) for press in presses)
        return Verdict.LATE if is_copy or not _begins_anew(last, packet, clock_rate_hz) else Verdict.NEW
    if packet.code != last.newest.code or last.marks_another(packet):
        return Verdict.NEW
    return Verdict.SAME if last.facts(packet, clock_rate_hz) in SAME_PRESS else Verdict.NEW


def _begins_anew(last: Press, packet: KeyPacket, clock_rate_hz: int) -> bool:
    """Return whether a source numbers anew: far back, or only for this press, as its other facts show."""
    is_far = sequence_delta(packet.sequence, last.newest.sequence) < -_MOST_MISORDERED
    return is_far or (packet.marker and last.stamp(packet, clock_rate_hz) is Stamp.PASSED)


def judge_packed(presses: Sequence[Press], packet: KeyPacket) -> Verdict:
    """Judge one of several presses that share an RTP packet (RFC 4733 §2.5.1.5).

    They follow each other without a pause, and repeated packets hold them all again. Senders that go to such
    lengths stamp them right.
    """
    if presses and sequence_delta(packet.sequence, presses[-1].newest.sequence) < 0:
        return Verdict.LATE
    for press in reversed(presses):
        if (press.newest.code, press.newest.timestamp) == (packet.code, packet.timestamp):
            return Verdict.SAME if press is presses[-1] else Verdict.LATE
    return Verdict.NEW
