"""Ports whose last caller never stops talking."""

import pytest

from sipgw.api.relay.v1 import control_pb2 as pb
from sipgw.media_relay.port_pool import LONGEST_REST_S, PortPool
from sipgw.rtp.source_latch import Source


@pytest.fixture
def talker(bench):
    """A phone of nobody's call."""
    return bench.phone()


def hang_up(bench, call_id):
    assert (
        bench.command(call_id, generation=2, release=pb.Release(reason="bye")).status == pb.COMMAND_STATUS_OK
    )


def test_who_never_stops_is_heard_in_none_of_the_later_calls_on_that_port(make_bench):
    bench = make_bench(pairs=1)
    ghost, sdp = bench.phone(ssrc=1), bench.phone(ssrc=9)  # nothing comes from the address in the SDP
    bench.call(ghost, "first")
    bench.talk(ghost, 10)
    hang_up(bench, "first")
    for number in (2, 3):
        for _ in range(65):  # the ghost talks through the longest rest
            ghost.say()
            bench.tick(100)
        assert bench.plane.pool.free == 1
        caller, call_id = bench.phone(ssrc=number), f"call-{number}"
        bench.call(sdp, call_id)
        caller.target = sdp.target
        ghost.received()
        bench.talk(ghost, 50)  # alone on the line for a second, as if it were behind a NAT
        said = []
        for _ in range(50):
            ghost.say()
            said += bench.talk(caller, 1)
        assert set(caller.heard()) & set(said)
        assert ghost.received() == []
        hang_up(bench, call_id)


def test_no_more_than_eight_are_barred_the_last_ones_and_none_before_a_silence(port_range, talker):
    pool, now_s = PortPool("127.0.0.1", *port_range(1)), 0.0
    heard = [(Source("192.0.2.1", 5000 + n), n) for n in range(12)]
    for caller in heard:
        pair = pool.acquire()
        pair.heard = caller
        pool.release(pair, now_s)
        talker.socket.sendto(b"still here", pair.rtp.getsockname())
        now_s += LONGEST_REST_S
        pool.sweep(now_s)
    pair = pool.acquire()
    assert pair.barred == tuple(heard[-8:])
    pair.heard = heard[0]
    pool.release(pair, now_s)
    pool.sweep(now_s + 1.1)
    pair = pool.acquire()
    assert pair.barred == (heard[0],)
    pool.release(pair, now_s)
    pool.close()
