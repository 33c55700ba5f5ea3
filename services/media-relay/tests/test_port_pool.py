"""The port that a call gets, and ports whose last caller never stops sending."""

import itertools
import random
import socket

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sipgw.api.relay.v1 import control_pb2 as pb
from sipgw.media_relay.ports.port_pool import LONGEST_REST_S, RESTED_S, SILENT_S, PortPool
from sipgw.rtp.source_latch import Source


@pytest.fixture
def talker(bench):
    """A phone without a call."""
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
        bench.talk(ghost, 50)  # the only sender for a second, as if behind a NAT
        said = []
        for _ in range(50):
            ghost.say()
            said += bench.talk(caller, 1)
        assert set(caller.heard()) & set(said)
        assert ghost.received() == []
        hang_up(bench, call_id)


def test_no_more_than_eight_are_barred_the_last_ones_and_none_before_a_silence(port_range, talker):
    pool, now_s = PortPool("127.0.0.1", *port_range(1), random.Random(1)), 0.0
    heard = [(Source("192.0.2.1", 5000 + n), n) for n in range(12)]
    for caller in heard:
        pair = pool.acquire(now_s)
        pair.heard = caller
        pool.release(pair, now_s)
        talker.socket.sendto(b"still here", pair.rtp.getsockname())
        now_s += LONGEST_REST_S
        pool.sweep(now_s)
    pair = pool.acquire(now_s)
    assert pair.barred == tuple(heard[-8:])
    pair.heard = heard[0]
    pool.release(pair, now_s)
    pool.sweep(now_s + 1.1)
    pair = pool.acquire(now_s + 1.1)
    assert pair.barred == (heard[0],)
    pool.release(pair, now_s)
    pool.close()


@pytest.fixture
def make_pool(port_range):
    pools = []

    def make(pairs=8, seed=1):
        pools.append(PortPool("127.0.0.1", *port_range(pairs), random.Random(seed)))
        return pools[-1]

    yield make
    for pool in pools:
        pool.close()


def give_back(pool, pairs, now_s):
    """Release the pair, and let it be silent for a second."""
    for pair in pairs:
        pool.release(pair, now_s)
    pool.sweep(now_s + SILENT_S)


def draw(pool, count, now_s=0.0):
    """Return the RTP ports of this many calls, which then end."""
    pairs = [pool.acquire(now_s) for _ in range(count)]
    give_back(pool, pairs, now_s)
    return [pair.rtp_port for pair in pairs]


def holder_of(port):
    """Another process's socket. Raises OSError when the port is taken."""
    holder = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        holder.bind(("127.0.0.1", port))
    except OSError:
        holder.close()
        raise
    return holder


def test_ports_are_drawn_by_the_tokens_each_as_often_as_any_other(port_range):
    low, high = port_range(8)
    firsts = []
    for seed in range(400):
        pool = PortPool("127.0.0.1", low, high, random.Random(seed))
        firsts += draw(pool, 1)
        pool.close()
    counts = [firsts.count(port) for port in range(low, high, 2)]
    assert sum(counts) == 400
    assert min(counts) > 25  # of 50 each
    assert sorted(firsts) != firsts


def test_the_order_of_ports_says_nothing_of_the_next(make_pool):
    pool = make_pool(pairs=32)
    drawn = draw(pool, 32)
    assert len(set(drawn)) == 32
    assert len({late - early for early, late in itertools.pairwise(drawn)}) > 10


def test_a_port_whose_pair_is_taken_in_part_is_passed_over(port_range):
    low, high = port_range(4)
    with holder_of(low + 3):  # the RTCP port of the second pair
        pool = PortPool("127.0.0.1", low, high, random.Random(1))
        assert pool.probe() == [low + 2]
        pairs = [pool.acquire(0.0) for _ in range(3)]
        assert sorted(pair.rtp_port for pair in pairs) == [low, low + 4, low + 6]
        assert pool.acquire(0.0) is None
    pairs.append(pool.acquire(0.0))
    assert pairs[-1].rtp_port == low + 2  # free again
    give_back(pool, pairs, 0.0)
    pool.close()


def test_none_is_given_again_within_ten_seconds_while_another_is_free(make_pool):
    pool = make_pool(pairs=6)
    (used,) = draw(pool, 1)
    others = draw(pool, 5, now_s=RESTED_S - 0.1)
    assert used not in others
    assert draw(pool, 1, now_s=RESTED_S) == [used]  # the only one that has rested


def test_when_none_has_rested_the_longest_free_is_given(make_pool):
    pool = make_pool(pairs=3)
    pairs = [pool.acquire(0.0) for _ in range(3)]
    for number, pair in enumerate(pairs):
        give_back(pool, [pair], 2.0 * number)
    again = [pool.acquire(6.0) for _ in range(3)]
    assert [pair.rtp_port for pair in again] == [pair.rtp_port for pair in pairs]
    assert pool.acquire(6.0) is None
    give_back(pool, again, 6.0)


def test_a_fall_back_to_those_that_have_not_rested_passes_over_taken_ones(make_pool):
    pool = make_pool(pairs=2)
    pairs = [pool.acquire(0.0), pool.acquire(0.0)]
    give_back(pool, pairs[:1], 0.0)
    give_back(pool, pairs[1:], 2.0)
    with holder_of(pairs[0].rtp_port):
        again = pool.acquire(4.0)
    assert again.rtp_port == pairs[1].rtp_port
    give_back(pool, [again], 4.0)
    assert pool.free == 2


steps = st.lists(
    st.one_of(
        st.just(("acquire",)),
        st.tuples(st.sampled_from(["release", "talk", "hold", "let go"]), st.integers(0, 7)),
        st.tuples(st.just("pass"), st.sampled_from([0.3, 1.0, 4.0, 9.9])),
    ),
    min_size=10,
    max_size=60,
)


class PoolModel:
    """A model of a pool of 5 pairs, compared with a pool over real sockets."""

    def __init__(self, low, high, seed):
        self.pool = PortPool("127.0.0.1", low, high, random.Random(seed))
        self.ports = range(low, high, 2)
        self.now = 0.0
        self.used, self.held = {}, {}  # by port: its pair; the socket of another process
        self.released = {}  # by port: the time of its release
        self.heard = {}  # by resting port: the time of its last packet
        self.talks = set()
        self.talker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    @property
    def free(self):
        return [port for port in self.ports if port not in self.used and port not in self.heard]

    def has_rested(self, port):
        return self.now - self.released.get(port, -RESTED_S) >= RESTED_S

    def acquire(self):
        pair = self.pool.acquire(self.now)
        possible = [port for port in self.free if port not in self.held]
        assert (pair is None) == (not possible)
        if pair is None:
            return
        port = pair.rtp_port
        assert port in possible
        assert (pair.rtp.getsockname()[1], pair.rtcp.getsockname()[1]) == (port, port + 1)
        if not self.has_rested(port):
            assert not any(map(self.has_rested, possible))
            assert self.released[port] == min(self.released[each] for each in possible)
        self.used[port] = pair

    def release(self, which):
        if self.used:
            port = sorted(self.used)[which % len(self.used)]
            self.pool.release(self.used.pop(port), self.now)
            self.released[port] = self.heard[port] = self.now

    def talk(self, which):
        """Someone sends to a port that rests."""
        if self.heard:
            port = sorted(self.heard)[which % len(self.heard)]
            self.talks.add(port)
            self.talker.sendto(b"still here", ("127.0.0.1", port))

    def hold(self, which):
        """Another process takes a free port; it gets none that rests."""
        port = self.ports[which % len(self.ports)]
        if port in self.held:
            return
        try:
            self.held[port] = holder_of(port + which % 2)
        except OSError:
            assert port not in self.free
        else:
            assert port in self.free

    def let_go(self, which):
        if self.held:
            self.held.pop(sorted(self.held)[which % len(self.held)]).close()

    def wait(self, seconds):
        self.now += seconds
        self.pool.sweep(self.now)
        for port in self.talks:
            self.heard[port] = self.now
        self.talks.clear()
        for port, heard in list(self.heard.items()):
            if self.now - heard >= SILENT_S or self.now - self.released[port] >= LONGEST_REST_S:
                del self.heard[port]
        assert (self.pool.free, self.pool.resting) == (len(self.free), len(self.heard))

    def close(self):
        for port in list(self.used):
            self.pool.release(self.used.pop(port), self.now)
        self.pool.close()
        for each in (*self.held.values(), self.talker):
            each.close()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps, st.integers(0, 2**32 - 1))
def test_whatever_calls_strangers_and_other_programs_do_the_pool_keeps_its_rules(port_range, path, seed):
    model = PoolModel(*port_range(5), seed)
    try:
        for name, *arguments in path:
            match name:
                case "acquire":
                    model.acquire()
                case "release":
                    model.release(*arguments)
                case "talk":
                    model.talk(*arguments)
                case "hold":
                    model.hold(*arguments)
                case "let go":
                    model.let_go(*arguments)
                case _:
                    model.wait(*arguments)
    finally:
        model.close()
