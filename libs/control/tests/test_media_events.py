"""EventInbox: retries and bounds, without a stream."""

import asyncio

import pytest
from structlog.testing import capture_logs

from sipgw.api.relay.v1.control_pb2 import MediaEvent
from sipgw.control.media_events import EventInbox
from sipgw.runtime.patience import patient


def event(event_id: int, call_id: str = "a") -> MediaEvent:
    return MediaEvent(event_id=event_id, call_id=call_id)


class Handler:
    """Fails the first `failures` times."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.tries: list[int] = []
        self.is_acked = asyncio.Event()

    async def handle(self, event: MediaEvent) -> None:
        self.tries.append(event.event_id)
        if len(self.tries) <= self.failures:
            raise ConnectionError("Redis is away")


async def test_a_handler_that_fails_is_tried_again_before_the_next_event_of_the_call(until) -> None:
    handler = Handler(failures=2)
    inbox = EventInbox(handler.handle, handler.is_acked.set, retry_pauses_s=(0, 0, 0))
    inbox.receive(event(1))
    inbox.receive(event(2))
    await until(lambda: len(handler.tries) == 4)
    assert handler.tries == [1, 1, 1, 2]
    assert inbox.take_acks() == [1, 2]
    await inbox.aclose()


async def test_after_the_last_try_an_event_stays_unacked_and_its_repeat_is_handled(until) -> None:
    handler = Handler(failures=2)
    inbox = EventInbox(handler.handle, handler.is_acked.set, retry_pauses_s=(0,))
    with capture_logs() as lines:
        inbox.receive(event(1))
        await until(lambda: not inbox._queues)
    assert [line["event"] for line in lines] == ["media_event_failed"] * 2
    assert inbox.take_acks() == []
    inbox.receive(event(1))
    await asyncio.wait_for(handler.is_acked.wait(), patient(5))
    assert inbox.take_acks() == [1]
    await inbox.aclose()


async def test_a_repeat_of_an_event_under_way_is_not_handled_twice() -> None:
    handler = Handler(failures=0)
    inbox = EventInbox(handler.handle, handler.is_acked.set)
    inbox.receive(event(1))
    inbox.receive(event(1))
    await asyncio.wait_for(handler.is_acked.wait(), patient(5))
    assert handler.tries == [1]
    await inbox.aclose()


async def test_a_flood_is_bounded_and_what_is_dropped_is_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sipgw.control.media_events._MAX_QUEUED", 3)
    inbox = EventInbox(lambda _: asyncio.sleep(3600), lambda: None)
    with capture_logs() as lines:
        for number in range(5):
            inbox.receive(event(number))
    assert [line["event_id"] for line in lines if line["event"] == "media_event_dropped"] == [3, 4]
    await inbox.aclose()
