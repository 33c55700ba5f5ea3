"""Media goes only to destinations that the rules of a call allow."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipgw.rtp.media_destination import (
    DestinationRules,
    Evidence,
    HostKind,
    Reach,
    judge_destination,
    kind_of,
)
from sipgw.rtp.source_latch import Source

PUBLIC, OTHER, OWN = "198.51.100.7", "203.0.113.9", "192.0.2.77"
BROADCAST = "192.0.2.255"
NOTHING, HEARD, ACKED = Evidence(False, False), Evidence(True, False), Evidence(False, True)
EVERYTHING = Evidence(True, True)


class Machine:
    """A machine at 192.0.2.77/24 whose relays use the ports 20000-22399."""

    def is_own(self, host):
        return host == OWN

    def is_broadcast(self, host):
        return host == BROADCAST

    def is_relay_port(self, port):
        return 20000 <= port <= 22399


def judge(host, evidence=NOTHING, *, port=4000, signalling=PUBLIC, networks=(), trusted=False):
    rules = DestinationRules(signalling, tuple(map(ipaddress.ip_network, networks)), trusted)
    return judge_destination(Source(host, port), rules, evidence, Machine())


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "::ffff:169.254.169.254",
        "::ffff:a9fe:a9fe",
        "::169.254.169.254",
        "64:ff9b::169.254.169.254",
        "2002:a9fe:a9fe::1",
        "255.255.255.255",
        "::ffff:255.255.255.255",
        BROADCAST,
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "ff02::1",
        "fe80::1",
        "fe80::1%eth0",
        "0.0.0.0",
        "0.1.2.3",
        "::",
        "::ffff:0.0.0.0",
        "64:ff9b::127.0.0.1",
        "0xa9fea9fe",
        "2852039166",
        "0251.0376.0251.0376",
        "localhost",
        "",
    ],
)
def test_some_addresses_are_never_sent_to(host):
    assert judge(host, EVERYTHING, signalling=host, trusted=True) is Reach.NEVER
    assert judge(host, EVERYTHING, networks=["0.0.0.0/0", "::/0"], trusted=True) is Reach.NEVER


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "127.8.9.10", OWN])
def test_loopback_and_own_addresses_only_when_signalling_came_from_the_same(host):
    assert judge(host, signalling=host) is Reach.FREE
    for signalling in (PUBLIC, "127.0.0.9", "10.0.0.1"):
        assert judge(host, EVERYTHING, signalling=signalling, trusted=True) is Reach.NEVER


@pytest.mark.parametrize("host", ["127.0.0.1", OWN])
def test_never_to_a_relays_own_port(host):
    for port in (20000, 21001, 22399):
        assert judge(host, EVERYTHING, port=port, signalling=host) is Reach.NEVER
    assert judge(OTHER, ACKED, port=20000) is Reach.FREE


def test_before_the_ack_another_host_is_held_and_with_a_trusted_trunk_limited():
    assert judge(OTHER) is Reach.HELD
    assert judge(OTHER, trusted=True) is Reach.LIMITED
    for trusted in (False, True):
        assert judge(OTHER, HEARD, trusted=trusted) is Reach.FREE
        assert judge(OTHER, ACKED, trusted=trusted) is Reach.FREE
        assert judge(PUBLIC, trusted=trusted) is Reach.FREE


@pytest.mark.parametrize("host", ["10.0.0.5", "172.31.0.1", "192.168.1.1", "100.64.0.1", "fd00::1"])
def test_a_private_address_given_by_a_public_source_waits_until_it_is_heard(host):
    assert judge(host, ACKED, trusted=True) is Reach.HELD
    assert judge(host, HEARD) is Reach.FREE
    assert judge(host, ACKED, networks=[host]) is Reach.FREE
    assert judge(host, networks=[host], trusted=True) is Reach.LIMITED
    assert judge(host, ACKED, signalling="10.9.9.9") is Reach.FREE


def test_media_networks_bound_all_of_it():
    for host in (OTHER, PUBLIC, "10.0.0.5"):
        assert judge(host, EVERYTHING, networks=["192.0.2.0/26"], trusted=True) is Reach.NEVER
    assert judge("192.0.2.1", ACKED, networks=["192.0.2.0/26"]) is Reach.FREE


@pytest.mark.parametrize(
    ("host", "kind"),
    [
        ("8.8.8.8", HostKind.PUBLIC),
        ("2001:db8::1", HostKind.PUBLIC),
        ("2002:0808:0808::1", HostKind.PUBLIC),
        ("64:ff9b::8.8.8.8", HostKind.PUBLIC),
        ("172.32.0.1", HostKind.PUBLIC),
        ("100.128.0.1", HostKind.PUBLIC),
        ("172.16.0.1", HostKind.PRIVATE),
        ("::ffff:10.0.0.1", HostKind.PRIVATE),
        ("::ffff:127.0.0.1", HostKind.LOOPBACK),
        ("::1", HostKind.LOOPBACK),
    ],
)
def test_kinds(host, kind):
    assert kind_of(host) is kind


addresses = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).map(str)


@given(addresses, addresses, st.booleans(), st.integers(1, 65535))
def test_without_any_evidence_media_goes_freely_to_the_signalling_host_alone(host, signalling, trusted, port):
    reach = judge(host, signalling=signalling, trusted=trusted, port=port)
    assert (reach is not Reach.FREE) or host == signalling
    assert (reach is not Reach.LIMITED) or trusted


@given(addresses, st.builds(Evidence, st.booleans(), st.booleans()), st.booleans())
def test_more_evidence_never_takes_away(host, evidence, trusted):
    order = [Reach.NEVER, Reach.HELD, Reach.LIMITED, Reach.FREE]
    less = order.index(judge(host, trusted=trusted))
    assert order.index(judge(host, evidence, trusted=trusted)) >= less
