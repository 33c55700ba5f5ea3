"""A relay keeps to the sources and destinations that a call may have: over real sockets.

Loopback addresses stand for hosts of the Internet here: 127.0.0.1 sends the signalling, the others are
strangers.
"""

import itertools
import os

import numpy as np
import pytest

from sipgw.api.config.v1 import config_pb2
from sipgw.api.relay.v1 import control_pb2 as pb
from sipgw.audio import AudioFormat, Codec
from sipgw.media_relay.calls.housekeeping import UNACKNOWLEDGED_S
from sipgw.rtp import media_destination
from sipgw.rtp.media_destination import LIMITED_PACKETS, Reach

CALLER, THIRD, STRANGER = "127.0.0.1", "127.0.0.5", "127.0.0.9"
PCMU = AudioFormat(Codec.PCMU, 8000, 20)


class Elsewhere:
    """A machine that has none of the addresses."""

    def is_own(self, host):
        return False

    def is_broadcast(self, host):
        return False

    def is_relay_port(self, port):
        return False


@pytest.fixture
def internet(monkeypatch):
    """Treat loopback addresses as public."""
    monkeypatch.setattr(media_destination, "_LOOPBACK", ())
    media_destination.kind_of.cache_clear()
    yield
    media_destination.kind_of.cache_clear()


@pytest.fixture
def world(internet, bot_bench):
    del internet
    bot_bench.plane._local = Elsewhere()
    return bot_bench


def peer(**facts):
    return pb.MediaPeer(signalling_address=CALLER, **facts)


def call(bench, phone, *, start=True, **facts):
    return bench.call(phone, bot="bot:1", peer=peer(**facts), start=start)


def say(bench, session, text):
    """Have the bot say this many different frames; return them."""
    said = [bytes([1 + n % 100]) * 160 for n in range(text)]
    for frame in said:
        bench.speech.bot_audio(
            np.array([session.handle], np.uint32), np.frombuffer(frame, np.uint8)[None], PCMU
        )
    return said


def at(phone, bench, session):
    """Point the phone's socket at the call's port; return the phone."""
    phone.target = ("127.0.0.1", session.rtp_port)
    return phone


def spray(bench, phones, packets=50):
    for _ in range(packets):
        for phone in phones:
            phone.say()
        bench.tick(4)
        for phone in bench.phones:
            phone.collect()


# -- a stranger tries to take over the call


@pytest.mark.parametrize("host", [STRANGER, THIRD, CALLER])
@pytest.mark.parametrize("is_answered", [False, True])
def test_a_spray_before_the_caller_speaks_gets_nothing(world, host, is_answered):
    caller = world.phone(address=CALLER)
    session = call(world, caller, start=is_answered)
    stranger = at(world.phone(address=host, ssrc=666), world, session)
    spray(world, [stranger], packets=40)  # 0.8 s: too early to latch, even for the caller's own host
    if not is_answered:
        world.command("call-1", start=pb.Start())
    said = world.talk(caller, 10)
    world.tick(8)
    assert stranger.received() == []
    frames = [frame.tobytes() for _, block in world.bots.blocks for frame in block.payload]
    assert [frame for frame in frames if frame in said] == said[: len(said)]


def test_a_spray_goes_on_for_ever_and_gets_nothing(world):
    caller = world.phone(address=CALLER)
    session = call(world, caller)
    strangers = [at(world.phone(address=f"127.0.0.{n}", ssrc=n), world, session) for n in range(9, 19)]
    spray(world, strangers, packets=150)
    assert world.plane._leg(session.row).latch.latched is None
    assert all(stranger.received() == [] for stranger in strangers)


def test_a_flooded_port_hears_its_caller_in_time(world):
    caller = world.phone(address=CALLER)
    session = call(world, caller)
    strangers = [at(world.phone(address=f"127.0.0.{n}", ssrc=n), world, session) for n in range(9, 39)]
    spray(world, strangers, packets=10)  # 1500 packets a second
    for _ in range(2):
        spray(world, [*strangers, caller], packets=1)
    assert world.plane._leg(session.row).latch.latched == (CALLER, caller.port)


def test_a_phone_behind_nat_is_followed_after_the_answer_and_not_before(world):
    phone, real = world.phone(address=CALLER), None
    session = call(world, phone, start=False, behind_nat=True)
    real = at(world.phone(address=CALLER), world, session)
    spray(world, [real], packets=20)
    assert world.plane._leg(session.row).latch.latched is None
    world.command("call-1", start=pb.Start())
    spray(world, [real], packets=2)
    assert world.plane._leg(session.row).latch.latched == (CALLER, real.port)
    said = say(world, session, 5)
    world.tick(40)
    assert real.heard() == said


def test_one_forged_datagram_of_the_sdps_address_keeps_no_phone_from_its_call(world):
    sdp = world.phone(address=CALLER)
    session = call(world, sdp, behind_nat=True)
    sdp.say()
    world.tick(8)
    real = at(world.phone(address=CALLER, ssrc=77), world, session)
    spray(world, [real], packets=10)
    assert world.plane._leg(session.row).latch.latched == (CALLER, real.port)
    assert world.plane.receiver.totals(session.row).received >= 8


def test_another_port_of_the_callers_host_is_followed_after_a_second(world):
    session = call(world, world.phone(address=CALLER))
    moved = at(world.phone(address=CALLER), world, session)
    spray(world, [moved], packets=49)
    assert moved.received() == []
    spray(world, [moved], packets=3)
    assert world.plane._leg(session.row).latch.latched == (CALLER, moved.port)


def test_the_sdps_address_wins_the_call_back(world):
    caller = world.phone(address=CALLER)
    session = call(world, caller, behind_nat=True)
    thief = at(world.phone(address=CALLER, ssrc=666), world, session)
    spray(world, [thief], packets=5)
    assert thief.received() != []
    caller.say()
    world.tick(4)
    assert world.plane._leg(session.row).latch.latched == (CALLER, thief.port)  # one packet is not enough
    spray(world, [caller, thief], packets=2)
    thief.received()
    said = say(world, session, 5)
    spray(world, [caller, thief], packets=10)
    assert caller.heard() == said
    assert thief.received() == []


def test_off_sends_to_the_sdps_address_whoever_sends(world):
    caller = world.phone(address=CALLER)
    session = call(world, caller, symmetric=config_pb2.SYMMETRIC_MEDIA_OFF, behind_nat=True)
    other = at(world.phone(address=CALLER), world, session)
    spray(world, [other], packets=60)
    assert other.received() == []
    assert len(caller.received()) == 60


def test_always_follows_any_host(world):
    caller = world.phone(address=CALLER)
    session = call(world, caller, symmetric=config_pb2.SYMMETRIC_MEDIA_ALWAYS)
    other = at(world.phone(address=STRANGER), world, session)
    spray(world, [other], packets=3)
    assert world.plane._leg(session.row).latch.latched == (STRANGER, other.port)


def test_packets_of_a_payload_type_that_was_not_agreed_prove_nothing(world):
    session = call(world, world.phone(address=CALLER), behind_nat=True)
    other = at(world.phone(address=CALLER), world, session)
    for _ in range(20):
        other.say(payload_type=96)
        world.tick(4)
    assert world.plane._leg(session.row).latch.latched is None


def test_a_rebound_source_waits_for_a_second_of_silence_and_the_sdps_address_takes_it_back(world):
    caller = world.phone(address=CALLER)
    session = call(world, caller)
    spray(world, [caller], packets=10)
    rebound = at(world.phone(address=CALLER, ssrc=caller.ssrc), world, session)
    rebound.sequence = caller.sequence
    spray(world, [rebound], packets=48)
    assert world.plane._leg(session.row).latch.latched == (CALLER, caller.port)
    spray(world, [rebound], packets=5)
    assert world.plane._leg(session.row).latch.latched == (CALLER, rebound.port)
    spray(world, [caller], packets=2)
    assert world.plane._leg(session.row).latch.latched == (CALLER, caller.port)


# -- a caller names a third party as destination of the bot's voice


@pytest.mark.parametrize("is_early", [False, True])
def test_before_the_ack_nothing_goes_to_a_third_party(world, is_early):
    third = world.phone(address=THIRD)
    if is_early:
        spec = pb.Allocate(
            media=world.media(third, peer=peer()), bot=pb.BotSpec(endpoint="bot:1"), early_media=True
        )
        world.command("call-1", allocate=spec)
        session = world.sessions._by_call["call-1"]
    else:
        session = call(world, third)
    say(world, session, 50)
    world.tick(6000)  # half a minute
    assert third.received() == []
    assert int(world.plane.transmitter.sent[session.row]) == 0


def test_held_voice_is_not_dropped_and_begins_at_the_ack_with_its_first_word_whole(world):
    third = world.phone(address=THIRD)
    session = call(world, third)
    said = say(world, session, 20)
    world.actions.bot_mark(session.handle, "word")
    world.tick(400)
    assert world.plane.playout.played[session.row] == 0
    assert world.plane.transmitter.held == 1
    assert not [event for _, event in world.bots.events if event.HasField("played")]
    assert world.bots.consumed_bytes == {}
    world.command("call-1", generation=2, acknowledge=pb.Acknowledge())
    for _ in range(120):
        world.tick()
        third.collect()
    packets = third.received()
    assert [packet.payload for packet in packets][:20] == said
    assert packets[0].marker
    (event,) = [event for _, event in world.bots.events if event.HasField("played")]
    assert (event.played.mark, event.played.played_ms) == ("word", 400)


def test_a_trusted_trunks_media_host_gets_a_hundred_packets_in_all_and_the_rest_at_the_ack(world):
    third = world.phone(address=THIRD)
    session = call(world, third, trusted=True)
    said = say(world, session, 150)
    for _ in range(4000):
        world.tick()
        third.collect()
    early = third.received()
    assert len(early) == LIMITED_PACKETS
    assert world.plane.playout.played[session.row] == LIMITED_PACKETS * 160
    world.command("call-1", generation=2, acknowledge=pb.Acknowledge())
    for _ in range(220):
        world.tick()
        third.collect()
    late = third.received()
    assert [packet.payload for packet in early + late][:150] == said
    assert (late[0].sequence - early[-1].sequence) & 0xFFFF == 1
    silent = (late[0].timestamp - early[-1].timestamp) & 0xFFFFFFFF
    assert silent == pytest.approx((4000 - 400) * 40, abs=160)  # the pause is in the timestamps


def test_silence_leaves_half_of_the_hundred_to_a_bot_that_begins_late(world):
    third = world.phone(address=THIRD)
    session = call(world, third, trusted=True)
    for _ in range(2000):
        world.tick()
        third.collect()
    assert len(third.received()) == LIMITED_PACKETS // 2
    said = []
    for _ in range(60):  # in real time, a frame each 20 ms
        said += say(world, session, 1)
        world.tick(4)
        third.collect()
    packets = third.received()
    assert [packet.payload for packet in packets] == said[: LIMITED_PACKETS // 2]
    assert [packet.marker for packet in packets] == [True] + [False] * 49


def test_the_hundred_are_not_given_again_by_another_offer(world):
    third = world.phone(address=THIRD)
    session = call(world, third, trusted=True)
    say(world, session, 300)
    others = [world.phone(address=f"127.0.0.{n}") for n in range(20, 24)]
    for generation, other in enumerate(others, 2):
        for _ in range(240):  # 60 packets
            world.tick()
            third.collect()
        world.command(
            "call-1",
            generation=generation,
            modify=pb.Modify(media=world.media(other, peer=peer(trusted=True))),
        )
    world.tick(400)
    assert sum(len(one.received()) for one in (third, *others)) == LIMITED_PACKETS
    del session


def test_rtp_from_the_third_host_frees_the_voice_before_the_ack(world):
    third = world.phone(address=THIRD)
    session = call(world, third)
    said = say(world, session, 10)
    at(third, world, session).say()
    world.tick(8)
    assert third.received() == []  # one datagram may be forged
    spray(world, [third], packets=20)
    assert third.heard() == said


def test_rtp_from_another_port_of_the_third_host_frees_it_too(world):
    third = world.phone(address=THIRD)
    session = call(world, third, symmetric=config_pb2.SYMMETRIC_MEDIA_OFF)
    said = say(world, session, 10)
    spray(world, [at(world.phone(address=THIRD), world, session)], packets=20)
    assert third.heard() == said


def test_the_signalling_host_hears_the_bot_before_the_ack(world):
    caller = world.phone(address=CALLER)
    session = call(world, caller)
    said = say(world, session, 10)
    world.tick(60)
    assert caller.heard() == said


def test_a_reinvite_to_a_third_party_is_judged_anew(world):
    caller, third = world.phone(address=CALLER), world.phone(address=THIRD)
    session = call(world, caller, acknowledged=True)
    spray(world, [caller], packets=5)
    world.command("call-1", generation=2, modify=pb.Modify(media=world.media(third, peer=peer())))
    said = say(world, session, 20)
    world.tick(400)
    assert third.received() == []
    world.command("call-1", generation=3, acknowledge=pb.Acknowledge())
    for _ in range(100):
        world.tick()
        third.collect()
    assert third.heard() == said


def test_another_port_of_an_acknowledged_host_is_free(world):
    third, moved = world.phone(address=THIRD), world.phone(address=THIRD)
    session = call(world, third, acknowledged=True)
    world.command("call-1", generation=2, modify=pb.Modify(media=world.media(moved, peer=peer())))
    said = say(world, session, 10)
    world.tick(60)
    assert moved.heard() == said


def test_a_late_offers_first_word_waits_for_the_answer_in_the_ack(world):
    third = world.phone(address=THIRD)
    nobody = {"remote_address": "", "remote_rtp_port": 0}
    session = world.call(third, bot="bot:1", peer=peer(), **nobody)
    said = say(world, session, 20)
    world.tick(200)
    answer = world.media(third, peer=peer(acknowledged=True))
    world.command("call-1", generation=2, modify=pb.Modify(media=answer))
    for _ in range(120):
        world.tick()
        third.collect()
    assert third.heard() == said


def test_on_hold_the_voice_is_used_up_as_before_and_not_kept(world):
    third = world.phone(address=THIRD)
    session = call(world, third, acknowledged=True)
    hold = world.media(third, peer=peer(), remote_address="", direction=pb.MEDIA_DIRECTION_INACTIVE)
    world.command("call-1", generation=2, modify=pb.Modify(media=hold))
    say(world, session, 10)
    world.tick(60)
    assert world.plane.playout.depth(np.array([session.row]))[0] == 0
    world.command(
        "call-1", generation=3, modify=pb.Modify(media=world.media(third, peer=peer(acknowledged=True)))
    )
    said = say(world, session, 10)
    third.received()
    world.tick(60)
    assert third.heard() == said


def test_a_move_of_an_acknowledged_call_holds_nothing(world):
    third = world.phone(address=THIRD)
    spec = pb.Allocate(
        media=world.media(third, peer=peer(acknowledged=True)),
        bot=pb.BotSpec(endpoint="bot:1"),
        continuation=pb.Continuation(elapsed_ms=5000),
    )
    world.command("call-1", allocate=spec)
    world.command("call-1", start=pb.Start())
    session = world.sessions._by_call["call-1"]
    said = say(world, session, 10)
    world.tick(60)
    assert third.heard() == said


def test_the_next_owner_says_by_adopting_that_the_ack_was_seen(world):
    third = world.phone(address=THIRD)
    session = call(world, third)
    said = say(world, session, 10)
    world.command("call-1", owner_epoch=2, generation=2, edge="edge-1/1", adopt=pb.Adopt())
    world.tick(60)
    assert third.received() == []
    world.command("call-1", owner_epoch=2, generation=3, edge="edge-1/1", adopt=pb.Adopt(acknowledged=True))
    world.tick(60)
    assert third.heard() == said


def test_a_relay_that_lost_its_edge_holds_for_a_bounded_time(world):
    third = world.phone(address=THIRD)
    session = call(world, third)
    say(world, session, 10)
    world.relay.events.detach("edge-0/1", world.edge)
    world.tick(int(UNACKNOWLEDGED_S * 200) - 400)
    assert len(world.sessions) == 1
    world.tick(600)
    assert len(world.sessions) == 0
    assert third.received() == []


def test_keys_of_the_bot_wait_as_its_voice_does(world):
    third = world.phone(address=THIRD)
    session = call(world, third)
    world.actions.bot_send_dtmf(session.handle, "5", 100)
    world.tick(200)
    assert third.received() == []
    world.command("call-1", generation=2, acknowledge=pb.Acknowledge())
    world.tick(100)
    assert 101 in {packet.payload_type for packet in third.received()}


def test_reports_go_only_where_the_voice_goes_freely(world):
    caller, third = world.phone(address=CALLER), world.phone(address=THIRD)
    rtcp = {"remote_rtcp_address": THIRD, "remote_rtcp_port": third.port}
    world.call(caller, bot="bot:1", peer=peer(), **rtcp)
    reports = []
    for _ in range(3000):
        world.tick()
        caller.collect()
        reports += _datagrams(third)
    assert reports == []
    world.command("call-1", generation=2, acknowledge=pb.Acknowledge())
    world.tick(3000)
    assert _datagrams(third) != []


def test_one_forged_report_moves_no_reports(world):
    caller = world.phone(address=CALLER)
    session = call(world, caller)
    forger = world.phone(address=CALLER)
    forger.target = ("127.0.0.1", session.rtp_port + 1)
    report = bytes([0x80, 201, 0, 1]) + os.urandom(4)
    before = world.plane._leg(session.row).endpoint.remote_rtcp
    forger.send_bytes(report)
    world.tick(4)
    assert world.plane._leg(session.row).endpoint.remote_rtcp == before
    forger.send_bytes(report)
    world.tick(4)
    assert world.plane._leg(session.row).endpoint.remote_rtcp == (CALLER, forger.port)


def _datagrams(phone):
    received = []
    while True:
        try:
            received.append(phone.socket.recv(2048))
        except BlockingIOError:
            return received


# -- addresses of this machine, with loopback not public


def test_a_loopback_address_is_sent_to_only_when_signalling_came_from_it(bot_bench):
    local = bot_bench.phone(address="127.0.0.1")
    numbers = itertools.count()
    for signalling, is_heard in (("127.0.0.1", True), ("198.51.100.7", False), ("127.0.0.2", False)):
        name = f"call-{next(numbers)}"
        facts = pb.MediaPeer(signalling_address=signalling, acknowledged=True)
        session = bot_bench.call(local, name, bot="bot:1", peer=facts)
        at(local, bot_bench, session)
        spray(bot_bench, [local], packets=10)
        say(bot_bench, session, 5)
        bot_bench.tick(40)
        assert bool(local.heard()) is is_heard, signalling
        bot_bench.command(name, generation=9, release=pb.Release(reason="over"))


def test_two_calls_never_talk_to_each_others_ports(bench):
    first = bench.call(bench.phone(), "call-1", peer=peer(acknowledged=True))
    for rtp_port in (first.rtp_port, first.rtp_port + 1):
        phone = bench.phone()
        media = bench.media(phone, peer=peer(acknowledged=True), remote_rtp_port=rtp_port)
        name = f"to-{rtp_port}"
        allocate = pb.Allocate(media=media, bot=pb.BotSpec(endpoint="builtin:echo"))
        bench.command(name, allocate=allocate)
        bench.command(name, start=pb.Start())
        session = bench.sessions._by_call[name]
        bench.tick(200)
        assert bench.plane.reach(session.row) is Reach.NEVER
        assert int(bench.plane.transmitter.sent[session.row]) == 0


@pytest.mark.parametrize(
    "host", ["169.254.169.254", "255.255.255.255", "224.0.0.1", "::ffff:169.254.169.254"]
)
def test_some_addresses_get_nothing_whatever_happens(bench, host):
    phone = bench.phone()
    spec = bench.media(phone, peer=peer(acknowledged=True, trusted=True), remote_address=host)
    bench.command("call-1", allocate=pb.Allocate(media=spec, bot=pb.BotSpec(endpoint="builtin:echo")))
    bench.command("call-1", start=pb.Start())
    session = bench.sessions._by_call["call-1"]
    bench.tick(400)
    assert int(bench.plane.transmitter.sent[session.row]) == 0


def test_an_edge_of_the_last_release_is_served_as_before(bench):
    phone = bench.phone()
    bench.call(phone)  # no peer in its MediaSpec
    said = bench.talk(phone, 10)
    bench.tick(20)
    assert phone.heard() == said


def test_networks_that_are_none_are_refused_by_name(bench):
    spec = bench.media(bench.phone(), peer=peer(networks=["10.0.0.1/8"]))
    result = bench.command(
        "call-1", allocate=pb.Allocate(media=spec, bot=pb.BotSpec(endpoint="builtin:echo"))
    )
    assert result.status == pb.COMMAND_STATUS_INVALID
    assert "media.peer.networks" in result.message
