"""Who is believed to be the caller."""

from sipgw.rtp.source_latch import Heard, Source, SourceLatch, Verdict

SDP = Source("192.0.2.1", 4000)
NAT = Source("198.51.100.7", 61000)
STRANGER = Source("203.0.113.9", 5004)


def send(latch, source, sequence, now=0.0, ssrc=1, heard=None):
    return latch.receive_packet(source, ssrc=ssrc, sequence=sequence, now=now, heard=heard)


def test_the_address_of_the_sdp_is_believed_at_once():
    assert send(SourceLatch(SDP), SDP, 5) is Verdict.LATCHED


def test_another_host_must_wait_for_the_window_and_stay_in_sequence():
    latch = SourceLatch(SDP)
    assert send(latch, NAT, 5, now=0.0) is Verdict.PENDING
    assert send(latch, NAT, 6, now=0.02) is Verdict.PENDING
    assert send(latch, NAT, 15, now=0.21) is Verdict.LATCHED
    assert latch.latched == NAT


def test_the_sdps_address_wins_within_the_window():
    latch = SourceLatch(SDP)
    send(latch, STRANGER, 5, now=0.0)
    send(latch, STRANGER, 6, now=0.1)
    assert send(latch, SDP, 900, now=0.15) is Verdict.LATCHED
    assert send(latch, STRANGER, 7, now=0.3) is Verdict.STRANGE


def test_the_sdps_host_at_another_port_need_not_wait():
    latch = SourceLatch(SDP)
    moved = Source(SDP.host, 4002)
    assert send(latch, moved, 5) is Verdict.PENDING
    assert send(latch, moved, 6) is Verdict.LATCHED


def test_packets_out_of_sequence_prove_nothing():
    latch = SourceLatch(None)
    verdicts = [send(latch, STRANGER, sequence, now=1.0) for sequence in (5, 500, 7, 40000, 3)]
    assert set(verdicts) == {Verdict.PENDING}


def test_one_who_changes_its_ssrc_begins_again():
    latch = SourceLatch(None)
    assert send(latch, NAT, 5, ssrc=1) is Verdict.PENDING
    assert send(latch, NAT, 6, ssrc=2) is Verdict.PENDING
    assert send(latch, NAT, 7, ssrc=2) is Verdict.LATCHED


def test_as_in_sdp_means_nobody_else():
    latch = SourceLatch(SDP, is_symmetric=False)
    assert [send(latch, NAT, n, now=n) for n in range(3)] == [Verdict.STRANGE] * 3


def test_a_latched_port_never_goes_to_a_stranger():
    latch = SourceLatch(SDP)
    send(latch, SDP, 5)
    heard = Heard(ssrc=1, highest_sequence=50, at_s=0.0)
    for sequence in range(51, 80):
        assert send(latch, STRANGER, sequence, now=60.0, ssrc=2, heard=heard) is Verdict.STRANGE
    assert latch.latched == SDP


def test_a_rebound_nat_goes_on_with_ssrc_and_sequence_after_silence():
    latch = SourceLatch(SDP)
    send(latch, SDP, 5)
    heard = Heard(ssrc=1, highest_sequence=50, at_s=10.0)
    assert send(latch, NAT, 51, now=10.1, heard=heard) is Verdict.STRANGE  # the old one may still talk
    assert send(latch, NAT, 70, now=10.5, heard=heard) is Verdict.PENDING
    assert send(latch, NAT, 71, now=10.52, heard=heard) is Verdict.LATCHED
    assert latch.latched == NAT


def test_who_was_heard_in_the_ports_last_call_is_barred():
    latch = SourceLatch(SDP, barred=((NAT, 1),))
    assert [send(latch, NAT, n, now=n) for n in range(4)] == [Verdict.STRANGE] * 4
    assert send(latch, NAT, 1, ssrc=9, now=5) is Verdict.PENDING  # the same phone, another call


def test_a_flood_of_candidates_is_bounded():
    latch = SourceLatch(SDP)
    for n in range(1000):
        send(latch, Source("203.0.113.1", 1024 + n), 1)
    assert len(latch._candidates) <= 8
    assert send(latch, SDP, 1) is Verdict.LATCHED


def test_a_new_sdp_address_means_a_new_latch():
    latch = SourceLatch(SDP)
    send(latch, SDP, 5)
    latch.expect(NAT)
    assert send(latch, NAT, 9) is Verdict.LATCHED
    assert send(latch, SDP, 6) is Verdict.STRANGE
