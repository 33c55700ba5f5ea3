"""A call's sockets, for real: the lobby, and the one that is connected to the caller."""

import contextlib
import random
import socket

import pytest

from sipgw.media_relay.plane.rtp_endpoint import RtpEndpoint
from sipgw.media_relay.ports.port_pool import PortPool
from sipgw.rtp.source_latch import Source


@pytest.fixture
def pool(port_range):
    pool = PortPool("127.0.0.1", *port_range(8), random.Random(1))
    yield pool
    pool.close()


@pytest.fixture
def endpoint(pool):
    endpoint = RtpEndpoint(pool.acquire(0.0), None, None)
    yield endpoint
    pair = endpoint.release()
    for each in (pair.rtp, pair.rtcp, *pair.extra):
        each.close()


@pytest.fixture
def caller():
    with _phone() as phone:
        yield phone


@pytest.fixture
def stranger():
    with _phone() as phone:
        yield phone


@contextlib.contextmanager
def _phone():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone:
        phone.bind(("127.0.0.1", 0))
        phone.settimeout(0)
        yield phone


def source_of(phone):
    return Source(*phone.getsockname())


def all_of(receiver):
    received = []
    with contextlib.suppress(BlockingIOError):
        while True:
            received.append(receiver.recv(2048))
    return received


def test_before_the_latch_everybody_comes_to_the_lobby(endpoint, caller, stranger):
    caller.sendto(b"caller", endpoint.pair.rtp.getsockname())
    stranger.sendto(b"stranger", endpoint.pair.rtp.getsockname())
    assert sorted(all_of(endpoint.pair.rtp)) == [b"caller", b"stranger"]


def test_the_connected_socket_gets_the_callers_packets_and_the_lobby_the_others(endpoint, caller, stranger):
    endpoint.connect(source_of(caller))
    for n in range(10):
        caller.sendto(b"caller%d" % n, endpoint.pair.rtp.getsockname())
        stranger.sendto(b"stranger%d" % n, endpoint.pair.rtp.getsockname())
    assert all_of(endpoint.connected) == [b"caller%d" % n for n in range(10)]
    assert all_of(endpoint.pair.rtp) == [b"stranger%d" % n for n in range(10)]


def test_answers_leave_from_the_port_that_was_advertised(endpoint, caller):
    endpoint.connect(source_of(caller))
    endpoint.sender()(b"audio")
    assert caller.recvfrom(2048) == (b"audio", endpoint.pair.rtp.getsockname())


def test_before_the_latch_answers_go_where_the_sdp_says(pool, caller):
    endpoint = RtpEndpoint(pool.acquire(0.0), source_of(caller), None)
    endpoint.sender()(b"early")
    assert caller.recvfrom(2048) == (b"early", endpoint.pair.rtp.getsockname())
    pool.release(endpoint.release(), 0.0)


def test_nobody_is_sent_to_while_nobody_is_known(endpoint):
    assert endpoint.sender() is None


def test_a_caller_who_moves_is_followed_and_the_old_address_is_a_stranger(endpoint, caller, stranger):
    endpoint.connect(source_of(caller))
    endpoint.connect(source_of(stranger))
    caller.sendto(b"old", endpoint.pair.rtp.getsockname())
    stranger.sendto(b"new", endpoint.pair.rtp.getsockname())
    assert all_of(endpoint.connected) == [b"new"]
    assert all_of(endpoint.pair.rtp) == [b"old"]


def test_no_other_process_can_join_the_port_before_or_after_the_latch(endpoint, caller):
    address = endpoint.pair.rtp.getsockname()
    for connect in (False, True):
        if connect:
            endpoint.connect(source_of(caller))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as thief:
            thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with pytest.raises(OSError, match="in use"):
                thief.bind(address)


def test_an_address_that_cannot_be_reached_leaves_the_lobby_serving(endpoint, caller):
    with pytest.raises(PermissionError):
        endpoint.connect(Source("255.255.255.255", 9))
    assert endpoint.connected is None
    caller.sendto(b"caller", endpoint.pair.rtp.getsockname())
    assert all_of(endpoint.pair.rtp) == [b"caller"]


def test_a_released_pair_has_the_connected_socket_with_it_so_that_it_is_read_until_silent(pool, caller):
    endpoint = RtpEndpoint(pool.acquire(0.0), None, None)
    endpoint.connect(source_of(caller))
    address, free = endpoint.pair.rtp.getsockname(), pool.free
    pool.release(endpoint.release(), 0.0)
    for step in range(10):  # the caller talks on for two seconds: its packets come to the connected socket
        caller.sendto(b"still here", address)
        pool.sweep(step * 0.2)
    assert (pool.free, pool.resting) == (free, 1)
    pool.sweep(1.8 + 1.1)
    assert (pool.free, pool.resting) == (free + 1, 0)


def test_reports_share_the_rtp_port_when_that_was_agreed(endpoint, caller, stranger):
    endpoint.connect(source_of(caller))
    endpoint.remote_rtcp = source_of(stranger)
    endpoint.send_rtcp(b"muxed", is_muxed=True)
    endpoint.send_rtcp(b"apart", is_muxed=False)
    assert all_of(caller) == [b"muxed"]
    assert stranger.recvfrom(2048) == (b"apart", endpoint.pair.rtcp.getsockname())


def test_a_socket_of_both_families_sends_to_ipv4_callers(port_range, caller):
    pool = PortPool("::", *port_range(8), random.Random(1))
    endpoint = RtpEndpoint(pool.acquire(0.0), source_of(caller), None)
    endpoint.sender()(b"early")
    assert all_of(caller) == [b"early"]
    endpoint.connect(source_of(caller))
    endpoint.sender()(b"latched")
    assert all_of(caller) == [b"latched"]
    pool.release(endpoint.release(), 0.0)
    pool.close()
