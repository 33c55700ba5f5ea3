"""SipServer over a listener that only records what is sent: its timer, and the state that it keeps."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
import uvloop

from sipgw.runtime.settings import HostPort
from sipgw.sip import (
    Address,
    RequestReceived,
    SipRequest,
    TimerValues,
    TransactionEvent,
    TransactionLayer,
    make_response,
    new_request,
    parse_uri,
    serialize,
)
from sipgw.sip_edge.guard.door import Door
from sipgw.sip_edge.guard.glance import LiveNames
from sipgw.sip_edge.guard.ledger import StrangerLedger
from sipgw.sip_edge.guard.sources import Networks
from sipgw.sip_edge.limits import StrangerLimits
from sipgw.sip_edge.sip.listeners import UdpListener
from sipgw.sip_edge.sip.server import SipServer

PEER = Address("UDP", "127.0.0.1", 9)
NO_TIME = TimerValues(t1_s=0.0001, t2_s=0.0004, t4_s=0.0002)
"""Each timer is due before the loop can be asked for it."""


class NotingListener(UdpListener):
    """Records instead of sending; raises if `fails`."""

    def __init__(self) -> None:
        super().__init__(HostPort("127.0.0.1", 0))
        self.sent: list[bytes] = []
        self.fails = False

    def send(self, data: bytes, destination: Address) -> None:
        if self.fails:
            raise RuntimeError("no such peer")
        self.sent.append(data)


def request(
    method: str = "OPTIONS", number: int = 1, *, via: str = "SIP/2.0/UDP 127.0.0.1:5060"
) -> SipRequest:
    return new_request(
        method,
        parse_uri("sip:bob@127.0.0.1"),
        from_="<sip:alice@127.0.0.1>;tag=a",
        to="<sip:bob@127.0.0.1>;tag=b",
        call_id=f"call-{number}",
        cseq=number,
        via=via,
    )


async def server_of(listener: NotingListener, times: TimerValues | None = None) -> SipServer:
    tokens = iter(range(1_000_000))
    ledger = StrangerLedger(StrangerLimits(), Networks(), lambda *_: None)  # with no config: lets all in
    names = LiveNames(*[lambda *_: False] * 5)
    layer = TransactionLayer(times, token=lambda: f"t{next(tokens)}")
    return SipServer(listener, layer, Door(ledger, names))


def run_on(new_loop: Callable[[], asyncio.AbstractEventLoop], test: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await test()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main())


@pytest.mark.parametrize(
    "new_loop", [uvloop.new_event_loop, asyncio.new_event_loop], ids=["uvloop", "asyncio"]
)
def test_requests_are_sent_and_time_out_when_every_timer_is_already_due(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    """uvloop's `call_at` gives a handle without `when` for a time that has passed."""

    async def test() -> None:
        listener = NotingListener()
        server = await server_of(listener, NO_TIME)
        server.start(lambda _: None)
        asked = [server.request(request(number=number), PEER) for number in range(1, 51)]
        assert await asyncio.gather(*asked) == [None] * 50
        assert server.pending_requests == 0
        assert len(listener.sent) >= 50
        server.close()

    run_on(new_loop, test)


async def test_a_request_that_could_not_be_sent_is_not_awaited() -> None:
    listener = NotingListener()
    server = await server_of(listener)
    server.start(lambda _: None)
    listener.fails = True
    with pytest.raises(RuntimeError):
        await server.request(request(), PEER)
    assert server.pending_requests == 0
    listener.fails = False
    server.close()


async def test_timers_go_on_after_one_that_failed() -> None:
    listener = NotingListener()
    server = await server_of(listener, TimerValues(t1_s=0.01, t2_s=0.04, t4_s=0.02))
    server.start(lambda _: None)
    failed = asyncio.Event()
    asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: failed.set())
    asked = asyncio.ensure_future(server.request(request(), PEER))
    await asyncio.sleep(0)
    listener.fails = True
    await failed.wait()  # its retransmission
    listener.fails = False
    assert await asked is None
    server.close()


async def test_an_answer_goes_to_the_wire_when_the_edge_that_delivered_has_given_up() -> None:
    listener = NotingListener()
    server = await server_of(listener)
    taken: asyncio.Queue[TransactionEvent] = asyncio.Queue()
    server.start(taken.put_nowait)
    bye = request("BYE", via="SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bKdelivered")
    delivering = asyncio.ensure_future(
        server.deliver(serialize(bye), PEER, PEER, wait_s=60, expects_response=True)
    )
    event = await taken.get()
    delivering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await delivering
    assert isinstance(event, RequestReceived)
    server.respond(event.key, make_response(event.request, 200))
    await asyncio.sleep(0)
    assert [data[:11] for data in listener.sent] == [b"SIP/2.0 200"]
    server.close()


async def test_an_invite_is_sent_once_while_its_transaction_lives() -> None:
    """Two tasks send what the record says, or one sends it again after its result could not be saved."""
    listener = NotingListener()
    server = await server_of(listener)
    server.start(lambda _: None)
    invite = request("INVITE", via="SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bKsaved")
    first = asyncio.ensure_future(server.invite(invite, PEER, patience_s=60))
    second = asyncio.ensure_future(server.invite(invite, PEER, patience_s=60))
    await asyncio.sleep(0)
    assert listener.sent == [serialize(invite)]
    ok = make_response(invite, 200, to_tag="b")
    await server.deliver(serialize(ok), PEER, PEER, wait_s=0, expects_response=False)
    for outcome in (await first, await second, await server.invite(invite, PEER, patience_s=60)):
        assert outcome is not None
        assert outcome.status == 200
    assert listener.sent == [serialize(invite)]
    server.close()


async def test_an_invite_is_sent_anew_when_its_transaction_is_over() -> None:
    listener = NotingListener()
    server = await server_of(listener, NO_TIME)
    server.start(lambda _: None)
    invite = request("INVITE", via="SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bKsaved")
    assert await server.invite(invite, PEER, patience_s=60) is None
    sent = len(listener.sent)
    assert await server.invite(invite, PEER, patience_s=60) is None
    assert len(listener.sent) > sent
    assert not server._concluded
    server.close()


async def test_the_ack_of_an_invite_of_another_edge_is_sent_and_not_kept() -> None:
    listener = NotingListener()
    server = await server_of(listener)
    server.start(lambda _: None)
    invite = request("INVITE", via="SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bKelsewhere")
    ack = request("ACK", via="SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bKack")
    server.acknowledge(invite, ack, PEER)
    assert listener.sent == [serialize(ack)]
    assert not server._acks
    server.close()
