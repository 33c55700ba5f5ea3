import random

import numpy as np
import pytest

from sipgw.rtp.kernels.columns import new_calls
from sipgw.rtp.reception import Reception
from sipgw.rtp.reception_table import ReceptionTable


def feed(reception: Reception, sequences: list[int]) -> None:
    for sequence in sequences:
        reception.receive(sequence & 0xFFFF, sequence * 160 & 0xFFFFFFFF, sequence * 160)


def test_every_packet_received_is_no_loss_and_no_jitter():
    reception = Reception()
    feed(reception, list(range(65_500, 65_700)))
    assert (reception.received, reception.lost, reception.jitter) == (200, 0, 0.0)
    assert reception.highest_sequence == 65_699


def test_a_gap_is_loss_and_a_late_packet_fills_it():
    reception = Reception()
    feed(reception, [1, 2, 5])
    assert reception.lost == 2
    feed(reception, [4])
    assert reception.lost == 1


def test_duplicates_make_the_loss_negative():
    reception = Reception()
    feed(reception, [1, 1, 2, 2])
    assert (reception.received, reception.lost) == (4, -2)
    assert reception.take_fraction_lost() == 0


def test_the_fraction_is_of_the_interval_since_the_last_report():
    reception = Reception()
    feed(reception, [1, 2, 3, 4])
    assert reception.take_fraction_lost() == 0
    feed(reception, [6, 8])
    assert reception.take_fraction_lost() == 128
    feed(reception, [9, 10])
    assert reception.take_fraction_lost() == 0
    assert reception.take_fraction_lost() == 0


def test_a_jump_counts_only_when_a_second_packet_confirms_it():
    reception = Reception()
    feed(reception, [1, 2])
    assert not reception.receive(40_000, 0, 0)
    assert not reception.receive(50_000, 0, 0)
    feed(reception, [3])
    assert (reception.received, reception.lost) == (3, 0)
    assert not reception.receive(40_000, 0, 0)
    assert reception.receive(40_001, 160, 160)
    assert (reception.received, reception.lost, reception.highest_sequence) == (4, 0, 40_001)


def test_jitter_follows_appendix_a8():
    reception = Reception()
    reception.receive(1, 0, 1000)
    reception.receive(2, 160, 1200)
    assert reception.jitter == pytest.approx(40 / 16)
    reception.receive(3, 320, 1320)
    assert reception.jitter == pytest.approx(2.5 + (40 - 2.5) / 16)


def test_timestamps_that_go_round_are_no_jitter():
    reception = Reception()
    reception.receive(1, 0xFFFFFF60, 0xFFFFFF60 + 77)
    reception.receive(2, 0, 77)
    assert reception.jitter == 0


def test_a_telephone_event_counts_but_says_nothing_about_jitter():
    reception = Reception()
    reception.receive(1, 0, 0)
    reception.receive(2, None, 300)
    reception.receive(3, 320, 320)
    assert (reception.received, reception.lost, reception.jitter) == (3, 0, 0.0)


def test_telephone_events_begin_nothing_and_move_nothing_far():
    reception = Reception()
    assert not reception.receive(40_000, None, 0)
    feed(reception, [1, 2])
    for sequence in (500, 501, 40_000, 40_001):
        assert not reception.receive(sequence, None, 0)
    feed(reception, [3])
    assert (reception.received, reception.lost, reception.highest_sequence) == (3, 0, 3)


def stream(chance: random.Random, length: int) -> list[tuple[int, int, int]]:
    """Return (sequence, timestamp, arrival) with loss, duplicates, disorder, jitter and new beginnings."""
    sequence, timestamp, clock = chance.randrange(65536), chance.randrange(2**32), chance.randrange(2**32)
    packets: list[tuple[int, int, int]] = []
    while len(packets) < length:
        sequence, timestamp, clock = sequence + 1, timestamp + 160, clock + 160
        if chance.random() < 0.01:
            sequence += chance.choice((200, 2999, 3000, 20_000, 65_400, 65_436, 65_437))
        if chance.random() < 0.005:
            timestamp = chance.randrange(2**32)
        for _ in range(chance.choices((0, 1, 2), (5, 90, 5))[0]):
            arrival = clock + chance.randrange(400)
            packets.append((sequence & 0xFFFF, timestamp & 0xFFFFFFFF, arrival & 0xFFFFFFFF))
        if len(packets) > 3 and chance.random() < 0.05:
            packets[-1], packets[-3] = packets[-3], packets[-1]
    return packets[:length]


def test_the_columns_are_the_scalar_row_by_row():
    chance = random.Random(3550)
    calls, length = 40, 400
    streams = [stream(chance, length) for _ in range(calls)]
    scalars = [Reception() for _ in range(calls)]
    table = ReceptionTable(new_calls(calls + 5))
    rows_of = [chance.sample(range(calls), chance.randint(1, calls)) for _ in range(length)]
    position = [0] * calls
    for tick, calls_now in enumerate(rows_of):
        now = [streams[call][position[call]] for call in calls_now]
        sequence, timestamp, arrival = (list(column) for column in zip(*now, strict=True))
        counted = table.receive(
            np.array(calls_now) + 3,
            np.array(sequence, np.uint16),
            np.array(timestamp, np.uint32),
            np.array(arrival, np.uint32),
            timed=np.array(timestamp) % 7 > 0,
        )
        assert counted.tolist() == [
            scalars[call].receive(sequence, timestamp if timestamp % 7 else None, arrival)
            for call, (sequence, timestamp, arrival) in zip(calls_now, now, strict=True)
        ]
        for call in calls_now:
            position[call] += 1
        if tick % 37 == 0:
            for call in range(calls):
                report = table.report(call + 3)
                assert report.fraction_lost == scalars[call].take_fraction_lost()
    for call, scalar in enumerate(scalars):
        report = table.totals(call + 3)
        assert (report.received, report.lost) == (scalar.received, scalar.lost)
        assert report.highest_sequence == scalar.highest_sequence
        assert report.jitter == pytest.approx(scalar.jitter)
    assert sum(scalar.lost for scalar in scalars) > 100


def test_a_row_of_another_call_begins_at_nothing():
    table = ReceptionTable(new_calls(2))
    rows = np.array([0, 1])
    for number in (1, 2, 9):
        table.receive(rows, np.full(2, number, np.uint16), np.full(2, number, np.uint32), number * 50)
    table.reset(0)
    empty = table.totals(0)
    assert (empty.received, empty.lost, empty.highest_sequence, empty.jitter) == (0, 0, 0, 0.0)
    assert table.totals(1).lost == 6
    table.receive(rows[:1], np.array([7], np.uint16), np.array([0], np.uint32), 5)
    assert (table.totals(0).received, table.totals(0).lost) == (1, 0)
