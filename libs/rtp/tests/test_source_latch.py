"""The latch accepts as the caller only the sources that its rules allow."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipgw.rtp.source_latch import (
    Arrival,
    Heard,
    LatchRules,
    Source,
    SourceLatch,
    SymmetricMode,
    Verdict,
    canonical_host,
)

SDP = Source("192.0.2.1", 4000)
SIGNALLING = "198.51.100.7"
NAT = Source(SIGNALLING, 61000)
STRANGER = Source("203.0.113.9", 5004)
NETWORKS = (ipaddress.ip_network("203.0.113.0/28"),)
CARRIER = Source("203.0.113.9", 7000)
HIDDEN = LatchRules(signalling_host=SIGNALLING, is_behind_nat=True)
PLAIN = LatchRules(signalling_host=SIGNALLING)
ALWAYS = LatchRules(SymmetricMode.ALWAYS, signalling_host=SIGNALLING)
OFF = LatchRules(SymmetricMode.OFF, signalling_host=SIGNALLING, is_behind_nat=True)


def latch_of(rules=PLAIN, expected=SDP, *, answered_s=0.0, **options):
    latch = SourceLatch(expected, rules, **options)
    if answered_s is not None:
        latch.answer(answered_s)
    return latch


def send(latch, source, sequence, now=0.0, ssrc=1, heard=None, *, is_agreed=True):
    return latch.receive_packet(Arrival(source, ssrc, sequence, is_agreed), now, heard)


def stream(latch, source, *, count=5, begin_s=0.0, ssrc=1, first=100, **options):
    """Return the verdicts on packets sent every 20 ms."""
    return [send(latch, source, first + n, begin_s + n * 0.02, ssrc, **options) for n in range(count)]


# -- the SDP's address


def test_the_sdps_address_is_heard_at_once_and_latched_by_its_second_packet():
    latch = latch_of(answered_s=None)
    assert stream(latch, SDP, count=3) == [Verdict.HEARD, Verdict.LATCHED, Verdict.HEARD]


@pytest.mark.parametrize("rules", [HIDDEN, ALWAYS])
def test_the_sdps_address_wins_back_by_two_packets(rules):
    latch = latch_of(rules)
    assert stream(latch, NAT)[1] is Verdict.LATCHED
    assert stream(latch, SDP, ssrc=9, begin_s=1.0)[:2] == [Verdict.PENDING, Verdict.LATCHED]
    assert latch.latched == SDP


def test_one_forged_datagram_of_the_sdps_address_moves_nothing():
    latch = latch_of(HIDDEN)
    stream(latch, NAT)
    for second in range(10):
        assert send(latch, SDP, 1000 * second, now=float(second), ssrc=second) is Verdict.PENDING
    assert latch.latched == NAT


def test_the_sdps_address_needs_an_agreed_payload_type_to_win_back():
    latch = latch_of(HIDDEN)
    stream(latch, NAT)
    assert set(stream(latch, SDP, begin_s=1.0, is_agreed=False)) == {Verdict.PENDING}


def test_a_new_sdp_address_means_a_new_latch():
    latch = latch_of()
    stream(latch, SDP)
    latch.expect(STRANGER, 1.0)
    assert stream(latch, STRANGER, begin_s=1.0)[:2] == [Verdict.HEARD, Verdict.LATCHED]
    assert send(latch, SDP, 106, now=1.1) is Verdict.STRANGE


# -- auto


def test_a_phone_behind_nat_latches_by_two_packets():
    latch = latch_of(HIDDEN)
    assert stream(latch, NAT)[:2] == [Verdict.PENDING, Verdict.LATCHED]


def test_nobody_else_latches_before_the_answer():
    for rules in (HIDDEN, ALWAYS):
        latch = latch_of(rules, answered_s=None)
        assert set(stream(latch, NAT, count=500)) == {Verdict.PENDING}
        latch.answer(10.0)
        assert send(latch, NAT, 600, now=10.01) is Verdict.LATCHED


@pytest.mark.parametrize("source", [Source(SDP.host, 4002), NAT])
def test_without_nat_the_callers_hosts_wait_until_the_sdps_address_was_silent_for_a_second(source):
    latch = latch_of(PLAIN, answered_s=5.0)
    verdicts = stream(latch, source, begin_s=5.0, count=60)
    assert verdicts.index(Verdict.LATCHED) == 50
    assert set(verdicts[:50]) == {Verdict.PENDING}


def test_a_packet_of_the_sdps_address_begins_the_silence_anew():
    latch = latch_of(PLAIN)
    assert send(latch, SDP, 1, now=0.9) is Verdict.HEARD
    verdicts = stream(latch, NAT, begin_s=1.0, count=100)
    assert verdicts.index(Verdict.LATCHED) in (45, 46)


def test_hosts_of_the_trunks_media_networks_are_the_callers():
    rules = LatchRules(signalling_host=SIGNALLING, networks=NETWORKS)
    verdicts = stream(latch_of(rules), CARRIER, count=60)
    assert verdicts.index(Verdict.LATCHED) == 50


def test_media_networks_bound_every_mode():
    for mode in SymmetricMode:
        rules = LatchRules(mode, SIGNALLING, is_behind_nat=True, networks=NETWORKS)
        assert set(stream(latch_of(rules), NAT, count=200)) == {Verdict.STRANGE}


def test_never_any_other_host_however_steady():
    for rules in (PLAIN, HIDDEN):
        assert set(stream(latch_of(rules), STRANGER, count=3000)) == {Verdict.STRANGE}
        assert set(stream(latch_of(rules, expected=None), STRANGER, count=3000)) == {Verdict.STRANGE}


def test_without_an_sdp_address_the_signalling_host_latches():
    assert Verdict.LATCHED in stream(latch_of(PLAIN, expected=None), NAT, count=60)


# -- always, off


def test_always_takes_any_host_by_the_same_proof():
    latch = latch_of(ALWAYS)
    assert send(latch, STRANGER, 5, ssrc=1) is Verdict.PENDING
    assert send(latch, STRANGER, 6, ssrc=2) is Verdict.PENDING
    assert send(latch, STRANGER, 7, ssrc=2, is_agreed=False) is Verdict.STRANGE
    assert send(latch, STRANGER, 500, ssrc=2) is Verdict.PENDING
    assert send(latch, STRANGER, 501, ssrc=2) is Verdict.LATCHED


def test_off_means_the_sdps_address_alone():
    latch = latch_of(OFF)
    for source in (NAT, STRANGER, Source(SDP.host, 4002)):
        assert set(stream(latch, source, count=200)) == {Verdict.STRANGE}
    assert stream(latch, SDP, begin_s=9.0)[1] is Verdict.LATCHED


# -- after the latch


def test_a_latched_port_never_goes_to_another_ssrc():
    latch = latch_of(ALWAYS)
    stream(latch, SDP)
    heard = Heard(ssrc=1, highest_sequence=104, at_s=0.0)
    assert set(stream(latch, STRANGER, ssrc=2, first=105, begin_s=60.0, heard=heard)) == {Verdict.STRANGE}


def test_a_rebound_nat_goes_on_with_ssrc_and_sequence_after_a_second_of_silence():
    latch = latch_of(HIDDEN)
    stream(latch, NAT)
    heard = Heard(ssrc=1, highest_sequence=104, at_s=10.0)
    rebound = Source(SIGNALLING, 61001)
    assert send(latch, rebound, 105, now=10.3, heard=heard) is Verdict.STRANGE
    assert send(latch, rebound, 153, now=10.98, heard=heard) is Verdict.STRANGE
    assert send(latch, rebound, 155, now=11.0, heard=heard) is Verdict.LATCHED
    assert latch.latched == rebound


def test_a_rebound_source_is_bound_by_the_rules_too():
    heard = Heard(ssrc=1, highest_sequence=104, at_s=0.0)
    for rules in (PLAIN, HIDDEN, OFF):
        latch = latch_of(rules)
        stream(latch, SDP)
        assert set(stream(latch, STRANGER, first=105, begin_s=5.0, heard=heard)) == {Verdict.STRANGE}


def test_the_sdps_address_takes_the_call_back_from_a_rebound_source():
    latch = latch_of(PLAIN)
    stream(latch, SDP)
    heard = Heard(ssrc=1, highest_sequence=104, at_s=0.1)
    assert Verdict.LATCHED in stream(latch, NAT, first=150, begin_s=1.2, heard=heard)
    assert stream(latch, SDP, first=300, begin_s=2.0)[:2] == [Verdict.PENDING, Verdict.LATCHED]


# -- the rest


def test_who_was_heard_in_the_ports_last_call_is_barred():
    latch = latch_of(HIDDEN, barred=((NAT, 1),))
    assert set(stream(latch, NAT)) == {Verdict.STRANGE}
    assert stream(latch, NAT, ssrc=9)[1] is Verdict.LATCHED  # the same phone in another call


@pytest.mark.parametrize(("expected", "rules"), [(None, HIDDEN), (SDP, HIDDEN)])
def test_keys_under_an_ssrc_of_their_own_between_the_audio_delay_no_latch(expected, rules):
    latch = latch_of(rules, expected)
    source = NAT if expected is None else SDP
    if expected is not None:
        stream(latch, NAT)  # the SDP's address has to take the latch back
    verdicts = []
    for n in range(3):
        verdicts.append(send(latch, source, 100 + n, 1.0 + n * 0.02, ssrc=1))
        verdicts.append(send(latch, source, 7000 + n, 1.0 + n * 0.02, ssrc=2))
    assert verdicts[:3] == [Verdict.PENDING, Verdict.PENDING, Verdict.LATCHED]


def test_a_flood_of_candidates_is_bounded_and_shuts_nobody_out():
    latch = latch_of(ALWAYS, answered_s=None)
    for n in range(1000):
        send(latch, Source("203.0.113.1", 1024 + n), 1)
    assert len(latch._candidates._candidates) <= 16
    latch.answer(0.0)
    assert stream(latch, NAT)[1] is Verdict.LATCHED


def test_a_host_is_proven_by_two_packets_whatever_the_mode():
    for rules in (OFF, PLAIN):
        latch = latch_of(rules, answered_s=None)
        send(latch, Source(SDP.host, 4002), 5)
        assert latch.proven == set()
        send(latch, Source(SDP.host, 4002), 6)
        assert latch.proven == {SDP.host}
        stream(latch, STRANGER)
        assert latch.proven == {SDP.host}


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("192.0.2.1", "192.0.2.1"),
        ("phone.example", "phone.example"),
    ],
)
def test_hosts_have_one_notation(text, host):
    assert canonical_host(text) == host


# -- random packets of strangers

HOSTS = [SDP.host, SIGNALLING, "203.0.113.9", "203.0.113.200", "10.0.0.5"]
packets = st.tuples(
    st.sampled_from(HOSTS),
    st.sampled_from([4000, 4002, 61000]),
    st.integers(1, 3),  # SSRC
    st.sampled_from([1, 1, 1, 2, 11, -5, 0, 700]),  # how far the sequence goes on
    st.sampled_from([0.0, 0.005, 0.02, 0.3, 1.1]),  # how much later
    st.booleans(),
)
rules = st.builds(
    LatchRules,
    mode=st.sampled_from(SymmetricMode),
    signalling_host=st.sampled_from([SIGNALLING, SDP.host]),
    is_behind_nat=st.booleans(),
    networks=st.sampled_from([(), NETWORKS]),
)


class Caller:
    """The receiver's memory of the latched source, which it passes to the latch."""

    def __init__(self):
        self.heard = None

    def take(self, verdict, arrival, now):
        if verdict in {Verdict.HEARD, Verdict.LATCHED}:
            self.heard = Heard(arrival.ssrc, arrival.sequence, now)


def run(latch, sent, *, answer_at=None):
    """Play packets; return (arrival, verdict, latched before) of each."""
    now, sequence, caller, history = 0.0, 1000, Caller(), []
    for n, (host, port, ssrc, step, later, is_agreed) in enumerate(sent):
        now, sequence = now + later, (sequence + step) & 0xFFFF
        if n == answer_at:
            latch.answer(now)
        arrival = Arrival(Source(host, port), ssrc, sequence, is_agreed)
        before = latch.latched
        verdict = latch.receive_packet(arrival, now, caller.heard)
        caller.take(verdict, arrival, now)
        history.append((arrival, verdict, before))
    return history


def is_allowed(rules, host):
    if rules.networks:
        return any(ipaddress.ip_address(host) in one for one in rules.networks)
    if rules.mode is SymmetricMode.AUTO:
        return host in (rules.signalling_host, SDP.host)
    return rules.mode is SymmetricMode.ALWAYS


@given(rules, st.lists(packets, max_size=60), st.integers(0, 30))
def test_no_sequence_of_packets_moves_the_latch_outside_of_the_rules(rules, sent, answer_at):
    latch = SourceLatch(SDP, rules)
    for n, (arrival, verdict, _) in enumerate(run(latch, sent, answer_at=answer_at)):
        if verdict is Verdict.LATCHED and arrival.source != SDP:
            assert is_allowed(rules, arrival.source.host)
            assert n >= answer_at
            assert arrival.is_agreed
    assert latch.latched is None or latch.latched == SDP or is_allowed(rules, latch.latched.host)


@given(rules, st.lists(packets, max_size=60))
def test_the_sdps_address_always_wins_by_its_next_two_packets(rules, sent):
    latch = latch_of(rules)
    run(latch, sent)
    stream(latch, SDP, count=2, begin_s=1000.0, ssrc=77, first=5)
    assert latch.latched == SDP


@given(rules, st.lists(packets, max_size=40), packets)
def test_one_datagram_of_a_source_never_moves_the_latch(rules, sent, forged):
    latch = latch_of(rules)
    others = [packet for packet in sent if packet[:2] != forged[:2]]
    run(latch, others)
    before = latch.latched
    run(latch, [forged])
    assert latch.latched == before
