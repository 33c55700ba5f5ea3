"""The sending end of a trunk on a virtual clock: 200 ms un-acked, oldest audio dropped, events never."""

from hypothesis import given
from hypothesis import strategies as st

from sipgw.media_relay.streams.flow_control import ReceiveCount, SendQueue

PLENTY = 10**9


def queue_with(*items: tuple[str, float]) -> SendQueue[str]:
    """Items by name, at their times; names that begin with "a" are audio."""
    queue: SendQueue[str] = SendQueue()
    for name, at in items:
        add(queue, name, at)
    return queue


def add(queue: SendQueue[str], name: str, at: float) -> None:
    if name.startswith("a"):
        queue.add_audio(name, at, 100)
    else:
        queue.add_event(name, at, 100)


def test_items_go_in_order():
    queue = queue_with(("start", 0), ("a1", 0), ("digit", 0), ("a2", 0))
    assert queue.take(0, max_bytes=PLENTY) == ["start", "a1", "digit", "a2"]


def test_a_message_ends_at_its_size_but_holds_at_least_one_item():
    queue = queue_with(("a1", 0), ("a2", 0), ("a3", 0))
    assert queue.take(0, max_bytes=250) == ["a1", "a2"]
    assert queue.take(0, max_bytes=1) == ["a3"]


def test_audio_waits_while_200_ms_are_unacked_and_the_newest_is_kept():
    queue = queue_with(("a0", 0))
    queue.take(0, max_bytes=PLENTY)
    for period in range(1, 30):
        queue.add_audio(f"a{period}", 0.2 + period * 0.02, 100)
        assert queue.take(0.2 + period * 0.02, max_bytes=PLENTY) == []
    assert queue.dropped_audio >= 27
    queue.acked(1, 0.8)
    assert queue.take(0.78, max_bytes=PLENTY)[-1] == "a29"


def test_events_go_even_then_and_audio_before_them_is_dropped():
    queue = queue_with(("a0", 0))
    queue.take(0, max_bytes=PLENTY)
    for name in ("a1", "end", "a2"):
        add(queue, name, 0.3)
    assert queue.take(0.3, max_bytes=PLENTY) == ["end"]
    assert queue.dropped_audio == 1
    queue.acked(2, 0.31)
    assert queue.take(0.31, max_bytes=PLENTY) == ["a2"]


def test_what_waited_over_200_ms_behind_a_blocked_write_is_dropped():
    queue = queue_with(("a1", 0), ("start", 0), ("a2", 0.5))
    assert queue.take(0.5, max_bytes=PLENTY) == ["start", "a2"]


def test_stalled_counts_from_the_last_progress():
    queue = queue_with(("a1", 1))
    assert queue.stalled_s(9) == 0
    queue.take(1, max_bytes=PLENTY)
    add(queue, "digit", 2)
    queue.take(2, max_bytes=PLENTY)
    assert queue.stalled_s(4) == 3
    queue.acked(1, 4)
    assert queue.stalled_s(5) == 1
    queue.acked(2, 5)
    assert queue.stalled_s(50) == 0


def test_our_acks_are_counted_by_the_other_end_but_not_waited_for():
    queue = queue_with(("start", 0))
    queue.take(0, max_bytes=PLENTY)
    queue.sent_unasked(1)
    queue.acked(1, 0)
    assert queue.stalled_s(9) == 0
    add(queue, "digit", 9)
    queue.take(9, max_bytes=PLENTY)
    queue.acked(2, 9)
    assert queue.stalled_s(19) == 10
    queue.acked(3, 19)
    assert queue.stalled_s(29) == 0


@given(st.lists(st.sampled_from(["audio", "event", "take", "ack", "wait"]), max_size=200))
def test_events_are_never_lost_or_reordered_and_audio_is_bounded(steps: list[str]):
    queue: SendQueue[str] = SendQueue()
    now, added, sent, items = 0.0, [], [], 0
    for number, step in enumerate(steps):
        match step:
            case "audio":
                queue.add_audio(f"a{number}", now, 1)
            case "event":
                queue.add_event(f"e{number}", now, 1)
                added.append(f"e{number}")
            case "take":
                taken = queue.take(now, max_bytes=PLENTY)
                items += len(taken)
                sent += taken
            case "ack":
                queue.acked(items, now)
            case _:
                now += 0.05
    sent += queue.take(now, max_bytes=PLENTY)
    assert [item for item in sent if item.startswith("e")] == added
    assert sent == sorted(sent, key=lambda item: int(item[1:]))


def test_an_ack_is_due_50_ms_after_the_first_item_and_none_for_an_ack():
    count = ReceiveCount()
    count.received(items=1, acks=1, now=0)
    assert count.due_at() is None
    count.received(items=3, acks=1, now=1)
    count.received(items=1, acks=0, now=1.04)
    assert count.due_at() == 1.05
    count.sent()
    assert (count.due_at(), count.items) == (None, 5)
