"""RelayLink against a small relay on a real gRPC server."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from sipgw.api.calls.v1.session_pb2 import ProcessIdentity
from sipgw.api.relay.v1 import control_pb2 as pb
from sipgw.api.relay.v1 import control_pb2_grpc
from sipgw.control import RelayLink, RelayRefused, RelayUnreachable
from sipgw.control.relay_link import PING_PERIOD_S, STALLED_AFTER_S
from sipgw.runtime.patience import patient
from sipgw.runtime.settings import Identity

EDGE = Identity("edge-0", "e1")


class Relay(control_pb2_grpc.RelayControlServiceServicer):
    """A relay: it answers commands by `answer`, and sends un-acked events again at each attach."""

    def __init__(self) -> None:
        self.incarnation = "r1"
        self.batches: list[list[pb.Command]] = []
        self.attached: list[str] = []
        self.acked: list[int] = []
        self.unacked: dict[int, pb.MediaEvent] = {}
        self.is_mute = False
        self.answers_pings = False
        self.is_frozen = False
        self.pings = 0
        self.answer: Callable[[pb.Command], pb.CommandResult | None] = self.ok
        self._outgoing: asyncio.Queue[pb.ControlResponse | None] = asyncio.Queue()

    @staticmethod
    def ok(command: pb.Command) -> pb.CommandResult:
        port = 20000 + int(command.call_id or 0)
        return pb.CommandResult(
            command_id=command.command_id,
            call_id=command.call_id,
            status=pb.COMMAND_STATUS_OK,
            allocated=pb.Allocated(address="192.0.2.1", rtp_port=port, rtcp_port=port + 1),
            sessions=[pb.SessionState(call_id="7", packets_received=5)],
        )

    @property
    def commands(self) -> list[pb.Command]:
        return [command for batch in self.batches for command in batch]

    def emit(self, event_id: int, call_id: str = "1", digit: str = "5") -> None:
        event = pb.MediaEvent(
            event_id=event_id, call_id=call_id, digit_received=pb.DigitReceived(digit=digit)
        )
        self.unacked[event_id] = event
        self._outgoing.put_nowait(pb.ControlResponse(events=pb.MediaEventBatch(events=[event])))

    def end_stream(self) -> None:
        self._outgoing.put_nowait(None)

    async def Control(self, request_iterator, context):
        first = await anext(aiter(request_iterator))
        self.attached.append(first.attach.edge.name)
        if self.is_mute:
            await asyncio.Event().wait()
        relay = ProcessIdentity(name="relay-0", incarnation=self.incarnation)
        self._outgoing = asyncio.Queue()
        yield pb.ControlResponse(attached=pb.Attached(relay=relay, answers_pings=self.answers_pings))
        reader = asyncio.ensure_future(self._read(request_iterator))
        try:
            if self.unacked:
                yield pb.ControlResponse(events=pb.MediaEventBatch(events=self.unacked.values()))
            while (response := await self._outgoing.get()) is not None:
                yield response
        finally:
            reader.cancel()

    async def _read(self, requests) -> None:
        async for request in requests:
            for event_id in request.ack.event_ids:
                self.acked.append(event_id)
                self.unacked.pop(event_id, None)
            if request.HasField("ping") and not self.is_frozen:
                self.pings += 1
                self._outgoing.put_nowait(pb.ControlResponse(pong=pb.Pong()))
            if request.HasField("commands"):
                self.batches.append(list(request.commands.commands))
                results = [self.answer(command) for command in request.commands.commands]
                batch = pb.ResultBatch(results=[result for result in results if result is not None])
                self._outgoing.put_nowait(pb.ControlResponse(results=batch))


@pytest.fixture
async def relay() -> Relay:
    return Relay()


@pytest.fixture
async def server(relay, serve):
    add = control_pb2_grpc.add_RelayControlServiceServicer_to_server
    return await serve(relay, add, "sipgw.api.relay.v1.RelayControlService")


class Edge:
    """An edge that keeps the events and relays that the link reports."""

    def __init__(self) -> None:
        self.events: list[pb.MediaEvent] = []
        self.relays: list[Identity] = []


@pytest.fixture
async def edge() -> Edge:
    return Edge()


@pytest.fixture
async def link(server, edge) -> AsyncIterator[RelayLink]:
    link = RelayLink(server.address, EDGE, edge.events.append, on_attached=edge.relays.append)
    yield link
    await link.aclose()


async def allocate(link: RelayLink, call: int) -> pb.Allocated:
    return await link.allocate(str(call), generation=3, owner_epoch=1, spec=pb.Allocate(traceparent="00-x"))


async def test_commands_reach_the_relay_with_their_fence_and_bring_their_results(link, relay, edge) -> None:
    allocated = await allocate(link, 4)
    assert (allocated.address, allocated.rtp_port, allocated.rtcp_port) == ("192.0.2.1", 20004, 20005)
    await link.modify("4", generation=4, owner_epoch=1, media=pb.MediaSpec(ptime_ms=20))
    await link.start("4", generation=5, owner_epoch=1)
    await link.adopt("4", generation=6, owner_epoch=2)
    await link.inform("4", generation=6, owner_epoch=2, inform=pb.Inform(transfer_status=603))
    await link.release("4", generation=7, owner_epoch=2, reason="bye")
    assert [
        (command.WhichOneof("command"), command.generation, command.owner_epoch) for command in relay.commands
    ] == [
        ("allocate", 3, 1),
        ("modify", 4, 1),
        ("start", 5, 1),
        ("adopt", 6, 2),
        ("inform", 6, 2),
        ("release", 7, 2),
    ]
    assert [session.packets_received for session in await link.list_sessions()] == [5]
    assert relay.attached == ["edge-0"]
    assert edge.relays == [link.relay] == [Identity("relay-0", "r1")]


async def test_another_relay_at_the_same_address_gets_no_commands(server, relay, edge, until) -> None:
    """A container restarted in its place: a late command for the first must not end the second's calls."""
    gone = Identity("relay-0", "r0")
    link = RelayLink(
        server.address,
        EDGE,
        edge.events.append,
        expected=gone,
        on_attached=edge.relays.append,
        deadline_s=0.3,
    )
    with pytest.raises(RelayUnreachable):
        await link.release("4", generation=7, owner_epoch=2, reason="moved")
    assert relay.commands == []
    await until(lambda: edge.relays)
    assert edge.relays[0] == Identity("relay-0", "r1")
    assert not link.is_connected
    await link.aclose()


async def test_commands_of_one_loop_turn_travel_in_one_batch(link, relay) -> None:
    await link.wait_connected()
    answers = await asyncio.gather(*(allocate(link, call) for call in range(100)))
    assert [answer.rtp_port for answer in answers] == [20000 + call for call in range(100)]
    assert [len(batch) for batch in relay.batches] == [100]


async def test_a_refusal_says_its_status_and_the_relays_words(link, relay) -> None:
    relay.answer = lambda command: pb.CommandResult(
        command_id=command.command_id, status=pb.COMMAND_STATUS_STALE, message="generation 9 was seen"
    )
    with pytest.raises(RelayRefused, match="STALE: generation 9 was seen") as caught:
        await allocate(link, 1)
    assert caught.value.status == pb.COMMAND_STATUS_STALE


async def test_a_relay_that_is_not_there_is_unreachable_before_the_deadline(edge) -> None:
    link = RelayLink("127.0.0.1:1", EDGE, edge.events.append, deadline_s=5)
    async with asyncio.timeout(patient(3)):
        with pytest.raises(RelayUnreachable, match=r"127\.0\.0\.1:1"):
            await allocate(link, 1)
    assert not link.is_connected
    await link.aclose()


async def test_a_command_without_an_answer_is_unreachable_at_its_deadline(server, relay, edge) -> None:
    relay.answer = lambda command: None if command.call_id == "1" else Relay.ok(command)
    link = RelayLink(server.address, EDGE, edge.events.append, deadline_s=0.2)
    with pytest.raises(RelayUnreachable, match=r"0\.2 s"):
        await allocate(link, 1)
    async with asyncio.timeout(patient(5)):
        while not await is_allocated(link, 2):
            pass
    await link.aclose()


async def is_allocated(link: RelayLink, call: int) -> bool:
    try:
        return bool(await allocate(link, call))
    except RelayUnreachable:  # its deadline is short
        return False


async def test_a_relay_that_stops_answering_altogether_loses_its_stream(server, relay, edge, until) -> None:
    link = RelayLink(server.address, EDGE, edge.events.append, deadline_s=0.2)
    await link.wait_connected()
    relay.answer = lambda _: None
    relay._outgoing.put_nowait = lambda _: None
    relay.is_mute = True
    with pytest.raises(RelayUnreachable):
        await allocate(link, 1)
    await until(lambda: not link.is_connected)
    relay.is_mute = False
    relay.answer = Relay.ok
    await link.aclose()


async def test_it_attaches_again_to_a_relay_that_returns_and_names_the_new_incarnation(
    link, relay, server, edge, until
) -> None:
    await allocate(link, 1)
    await server.stop()
    await until(lambda: not link.is_connected)
    relay.incarnation = "r2"
    await server.start()
    await until(lambda: link.is_connected)
    await allocate(link, 1)
    assert edge.relays == [Identity("relay-0", "r1"), Identity("relay-0", "r2")]


async def test_a_command_that_met_the_break_is_sent_again_on_the_next_stream(
    server, relay, edge, until
) -> None:
    link = RelayLink(server.address, EDGE, edge.events.append, deadline_s=5)
    await link.wait_connected()
    relay.answer = lambda _: None
    asking = asyncio.ensure_future(allocate(link, 1))
    await until(lambda: len(relay.commands) == 1)
    relay.answer = Relay.ok
    relay.end_stream()
    assert (await asking).rtp_port == 20001
    assert relay.attached == ["edge-0", "edge-0"]
    assert len({command.command_id for command in relay.commands}) == 1
    await link.aclose()


async def test_events_are_acked_only_after_they_are_handled(server, relay, until) -> None:
    handled, may_end = [], asyncio.Event()

    async def handle(event: pb.MediaEvent) -> None:
        await may_end.wait()
        handled.append(event.event_id)

    link = RelayLink(server.address, EDGE, handle)
    await link.wait_connected()
    relay.emit(1)
    await link.list_sessions()
    assert (handled, relay.acked) == ([], [])
    may_end.set()
    await until(lambda: relay.acked == [1])
    assert handled == [1]
    await link.aclose()


async def test_events_of_one_call_wait_for_each_other_and_not_for_other_calls(server, relay, until) -> None:
    handled, may_end = [], asyncio.Event()

    async def handle(event: pb.MediaEvent) -> None:
        if event.event_id == 1:
            await may_end.wait()
        handled.append(event.event_id)

    link = RelayLink(server.address, EDGE, handle)
    await link.wait_connected()
    relay.emit(1, "1")
    relay.emit(2, "1")
    relay.emit(3, "2")
    await until(lambda: handled == [3])
    may_end.set()
    await until(lambda: handled == [3, 1, 2])
    await link.aclose()


async def test_unacked_events_are_handled_after_a_reconnect(link, relay, server, edge, until) -> None:
    await link.wait_connected()
    await server.stop()
    relay.emit(8)
    await server.start()
    await until(lambda: relay.acked == [8])
    assert [event.event_id for event in edge.events] == [8]


async def test_an_event_whose_ack_was_lost_is_acked_again_but_not_handled_again(
    link, relay, server, edge, until
) -> None:
    await link.wait_connected()
    relay.emit(8)
    await until(lambda: relay.acked == [8])
    await server.stop()
    relay.emit(8)
    await server.start()
    await until(lambda: relay.acked == [8, 8])
    assert len(edge.events) == 1


async def test_another_incarnations_first_event_is_not_taken_for_the_olds(
    link, relay, server, edge, until
) -> None:
    await link.wait_connected()
    relay.emit(1, digit="5")
    await until(lambda: relay.acked == [1])
    await server.stop()
    relay.incarnation = "r2"
    relay.emit(1, digit="6")
    await server.start()
    await until(lambda: relay.acked == [1, 1])
    assert [event.digit_received.digit for event in edge.events] == ["5", "6"]


async def test_closing_the_link_tells_those_who_wait(server, relay, edge, until) -> None:
    relay.answer = lambda _: None
    link = RelayLink(server.address, EDGE, edge.events.append, deadline_s=5)
    asking = asyncio.ensure_future(allocate(link, 1))
    await until(lambda: len(relay.commands) == 1)
    await link.aclose()
    with pytest.raises(RelayUnreachable, match="link closed"):
        await asking


async def test_a_relay_that_answers_pings_is_never_silent_for_long(link, relay, until) -> None:
    relay.answers_pings = True
    await link.wait_connected()
    await until(lambda: relay.pings >= 3)
    assert link.silent_s < 0.7
    assert link.is_connected


async def test_a_relay_that_stops_answering_is_given_up_within_a_second(link, relay, edge, until) -> None:
    """Its connection stays open: only its silence shows the fault."""
    relay.answers_pings = True
    await link.wait_connected()
    relay.is_frozen = True
    loop = asyncio.get_running_loop()
    began = loop.time()
    await until(lambda: len(edge.relays) == 2)  # the edge has attached again
    assert 0.6 < loop.time() - began < 3
    assert STALLED_AFTER_S + PING_PERIOD_S < 1.0


async def test_the_silence_of_a_relay_that_answers_no_pings_means_nothing(server, edge, until) -> None:
    """A relay of an older release answers no pings."""
    link = RelayLink(
        server.address,
        EDGE,
        edge.events.append,
        on_attached=edge.relays.append,
        ping_period_s=0.02,
        stalled_after_s=0.1,
    )
    await link.wait_connected()
    await until(lambda: link.silent_s > 0.5)
    assert link.is_connected
    assert len(edge.relays) == 1
    await link.aclose()


async def test_a_link_whose_relay_was_replaced_dials_no_more(server, relay, edge, until) -> None:
    link = RelayLink(server.address, EDGE, edge.events.append, expected=Identity("relay-0", "r0"))
    with pytest.raises(RelayUnreachable, match="relay-0/r1 answers in place of relay-0/r0"):
        await allocate(link, 1)
    began = asyncio.get_running_loop().time()
    with pytest.raises(RelayUnreachable):
        await allocate(link, 1)
    link.open()
    assert asyncio.get_running_loop().time() - began < 0.1
    await asyncio.sleep(0.7)  # if the edge dialled again, it would each half second
    assert relay.attached == ["edge-0"]
    await link.aclose()


async def test_a_host_that_refuses_connections_is_told_and_a_broken_stream_is_not(
    server, relay, edge, until
) -> None:
    refused: list[float] = []
    link = RelayLink(
        server.address, EDGE, edge.events.append, on_refused=lambda: refused.append(link.heard_at)
    )
    await link.wait_connected()
    relay.end_stream()
    await until(lambda: len(relay.attached) == 2)
    await link.list_sessions()
    assert refused == []
    await server.stop()
    await until(lambda: refused)
    await link.aclose()
