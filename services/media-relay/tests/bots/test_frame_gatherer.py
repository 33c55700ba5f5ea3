"""Callers' frames on their way to a trunk: which wait for others, and for how long. On a virtual clock."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipgw.api import voicebot_pb2 as pb
from sipgw.media_relay.load.tick import TICK_S
from sipgw.media_relay.streams.frame_gatherer import MANY_FRAMES, FrameGatherer

SIZE = 8


def frame(handle: int, seq: int) -> bytes:
    return bytes([handle % 251, seq % 251] * (SIZE // 2))


class Ticks:
    """A gatherer that is asked in each tick, as a trunk asks it, and what it gave: (tick, batches)."""

    def __init__(self, most_bytes: int = 1 << 19) -> None:
        self.gatherer = FrameGatherer(most_bytes)
        self.number = 1000
        self.taken: list[tuple[int, list[pb.AudioBatch]]] = []

    def tick(self, handles=(), seq: int = 0, flags=None, format_id: int = 1, early_s: float = 0.0) -> None:
        now = self.number * TICK_S - early_s
        if len(handles):
            self.add(handles, seq, flags, format_id)
            if self.gatherer.is_due(now):
                self.taken.append((self.number, self.gatherer.take(now)))
        self.number += 1

    def add(self, handles, seq, flags=None, format_id=1):
        payload = b"".join(frame(handle, seq) for handle in handles)
        self.gatherer.add(
            format_id,
            np.array(handles, np.uint32),
            np.full(len(handles), seq, np.uint64),
            np.array([0] * len(handles) if flags is None else flags, np.uint8),
            np.frombuffer(payload, np.uint8).reshape(len(handles), SIZE),
        )


@pytest.mark.parametrize("early_s", [0.0, 0.002])
def test_a_call_alone_never_waits(early_s):
    ticks = Ticks()
    for seq in range(20):
        ticks.tick([7], seq, early_s=early_s if seq % 2 else 0.0)
        for _ in range(3):
            ticks.tick()
    assert [number for number, _ in ticks.taken] == list(range(1000, 1080, 4))


def test_few_calls_share_a_message_in_each_period():
    ticks = Ticks()
    for seq in range(10):
        for phase in range(4):
            ticks.tick([phase, 100 + phase], seq)
    assert [number for number, _ in ticks.taken] == list(range(1000, 1040, 4))
    _, (batch,) = ticks.taken[1]
    assert sorted(batch.handles) == [0, 1, 2, 3, 100, 101, 102, 103]
    assert len(batch.audio) == 8 * SIZE


def test_many_calls_share_a_message_in_every_second_tick():
    ticks = Ticks()
    for seq in range(10):
        for phase in range(4):
            ticks.tick(range(phase * 100, phase * 100 + MANY_FRAMES // 2), seq)
    assert [number for number, _ in ticks.taken] == list(range(1000, 1040, 2))


def test_what_waits_is_due_within_two_or_four_ticks_of_the_last_message():
    ticks = Ticks()
    assert ticks.gatherer.due_at() is None
    ticks.tick([1])
    ticks.tick([2])
    assert ticks.gatherer.due_at() == pytest.approx(1004 * TICK_S)
    ticks.tick(range(10, 10 + MANY_FRAMES))
    (_, batches) = ticks.taken[-1]
    assert ticks.gatherer.due_at() is None
    assert len(batches) == 1


def test_a_batch_has_a_call_once_and_one_format():
    ticks = Ticks()
    for seq, (handles, format_id) in enumerate([([1, 2], 1), ([3], 1), ([2], 1), ([4], 2), ([5], 1)]):
        ticks.add(handles, seq, format_id=format_id)
    batches = ticks.gatherer.take(0.0)
    assert [(batch.format_id, list(batch.handles), list(batch.seq)) for batch in batches] == [
        (1, [1, 2, 3], [0, 0, 1]),
        (1, [2], [2]),
        (2, [4], [3]),
        (1, [5], [4]),
    ]


def test_flags_are_left_out_where_there_are_none():
    ticks = Ticks()
    ticks.add([1, 2], 0)
    assert not ticks.gatherer.take(0.0)[0].flags
    ticks.add([1, 2], 1)
    ticks.add([3], 1, flags=[pb.AudioBatch.CONCEALED])
    assert list(ticks.gatherer.take(0.0)[0].flags) == [0, 0, pb.AudioBatch.CONCEALED]


@given(st.lists(st.lists(st.integers(0, 40), unique=True, min_size=1, max_size=30), max_size=12), st.data())
def test_every_frame_goes_once_in_its_order_in_batches_below_the_limit(adds, data):
    most_frames = data.draw(st.integers(1, 20))
    ticks = Ticks(most_frames * (SIZE + 16))
    added, got = [], []
    for seq, handles in enumerate(adds):
        ticks.add(handles, seq)
        added += [(handle, seq) for handle in handles]
        if data.draw(st.booleans()):
            got += ticks.gatherer.take(0.0)
    got += ticks.gatherer.take(0.0)
    frames = [(h, s) for batch in got for h, s in zip(batch.handles, batch.seq, strict=True)]
    assert frames == added
    assert b"".join(batch.audio for batch in got) == b"".join(frame(*each) for each in added)
    for batch in got:
        assert len(set(batch.handles)) == len(batch.handles) <= most_frames
