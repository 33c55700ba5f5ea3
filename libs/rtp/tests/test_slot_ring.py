"""The ring against a plain array that never goes round."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sipgw.rtp.slot_ring import SLOT_BYTES, SlotRing

ROWS, SLOTS = 3, 6
CAPACITY = SLOTS * SLOT_BYTES
BOTH = np.array([0, 2])
places = st.integers(0, 5 * CAPACITY) | st.integers(0, 5 * SLOTS).map(lambda slot: slot * SLOT_BYTES)
lengths = st.integers(1, CAPACITY) | st.sampled_from([80, 160, 240, CAPACITY])


def at(*positions):
    return np.array(positions, np.int64)


@settings(max_examples=200, deadline=None)
@given(places, places, lengths, st.randoms(use_true_random=False))
def test_what_was_written_is_read_wherever_it_falls(first, second, length, rng):
    ring = SlotRing(ROWS, SLOTS)
    data = np.array([[rng.randrange(256) for _ in range(length)] for _ in BOTH], np.uint8)
    ring.write(BOTH, at(first, second), data)
    assert (ring.read(BOTH, at(first, second), length) == data).all()
    assert not ring.bytes[1].any()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(places, lengths), min_size=1, max_size=12))
def test_a_ring_holds_the_newest_capacity_of_a_stream(blocks):
    """Every byte is where position modulo capacity says, whichever of the two ways wrote it."""
    ring, model = SlotRing(ROWS, SLOTS), np.zeros(CAPACITY, np.uint8)
    for number, (position, length) in enumerate(blocks):
        data = np.full((1, length), number + 1, np.uint8)
        ring.write(np.array([1]), at(position), data)
        model[(position + np.arange(length)) % CAPACITY] = number + 1
    assert (ring.bytes[1].ravel() == model).all()


@given(places, lengths)
def test_a_row_alone_is_written_as_in_columns(position, length):
    columns, alone = SlotRing(ROWS, SLOTS), SlotRing(ROWS, SLOTS)
    data = np.arange(length, dtype=np.uint64).astype(np.uint8)
    columns.write(np.array([1]), at(position), data[None])
    alone.write_row(1, position, data)
    assert (columns.bytes == alone.bytes).all()


@settings(max_examples=200)
@given(places, lengths, st.binary(min_size=CAPACITY, max_size=CAPACITY))
def test_a_row_alone_is_taken_as_columns_are_read_and_filled(position, length, held):
    columns, alone = SlotRing(ROWS, SLOTS), SlotRing(ROWS, SLOTS)
    for ring in (columns, alone):
        ring.write_row(1, 0, np.frombuffer(held, np.uint8))
    row = np.array([1])
    read = columns.read(row, at(position), length)[0]
    columns.fill(row, at(position), length, np.array([9], np.uint8))
    taken = alone.take_row(1, position, length, 9)
    assert taken.tobytes() == read.tobytes()
    assert (columns.bytes == alone.bytes).all()


@given(places, lengths)
def test_filling_leaves_the_rest_as_it_was(position, length):
    ring = SlotRing(ROWS, SLOTS)
    ring.reset_row(0, 7)
    ring.fill(np.array([0]), at(position), length, np.array([9], np.uint8))
    assert (ring.read(np.array([0]), at(position), length) == 9).all()
    assert int((ring.bytes[0] == 7).sum()) == CAPACITY - length


@pytest.mark.parametrize("value", [0, 0xFF, 0xD5])
def test_a_reset_row_is_all_silence_and_others_keep_theirs(value):
    ring = SlotRing(ROWS, SLOTS)
    ring.write(np.arange(ROWS), at(0, 0, 0), np.full((ROWS, 160), 1, np.uint8))
    ring.reset_row(1, value)
    assert (ring.bytes[1] == value).all()
    assert (ring.bytes[[0, 2], :2] == 1).all()


def test_what_is_read_is_a_copy():
    ring = SlotRing(ROWS, SLOTS)
    ring.read(np.array([0]), at(0), 160)[:] = 5
    assert not ring.bytes.any()
