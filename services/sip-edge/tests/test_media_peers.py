"""The facts about the caller that a relay gets, so that it can tell the caller's media from a stranger's."""

import pytest

from edge_kit.caller import SDP, Caller, CallerDialog
from edge_kit.edges import TestEdge
from edge_kit.fake_registry import FakeRegistry
from edge_kit.fake_relay import FakeRelay
from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.api.config.v1 import config_pb2 as config
from sipgw.api.registry.v1 import registry_pb2 as registry_api
from sipgw.api.relay.v1 import control_pb2 as relay_api
from sipgw.sip_edge.errors import Rejected
from sipgw.sip_edge.gateway_config import ConfigHolder
from sipgw.sip_edge.media.peers import MediaPeers, is_acknowledged, is_behind_nat, is_trusted
from sipgw.sip_edge.media.relay_map import RelayMap

PUBLIC, OTHER = "203.0.113.7", "198.51.100.7"


def leg(*, source=PUBLIC, contact=PUBLIC, sent_by=PUBLIC):
    return calls.Leg(
        invite=calls.InviteState(
            source=calls.Endpoint(address=source), top_via=f"SIP/2.0/UDP {sent_by}:5060;branch=z9hG4bKx"
        ),
        dialog=calls.DialogState(remote_target=f"sip:alice@{contact}:5060"),
    )


@pytest.mark.parametrize(
    ("sdp", "signalling", "is_behind"),
    [
        (PUBLIC, {}, False),
        (OTHER, {}, False),  # a carrier's media host
        ("192.168.1.7", {}, True),
        ("100.64.9.9", {}, True),
        ("fd00::7", {}, True),
        (PUBLIC, {"contact": "10.0.0.7"}, True),
        (PUBLIC, {"contact": "[fd00::7]"}, True),
        (PUBLIC, {"sent_by": "10.0.0.7"}, True),
        (PUBLIC, {"sent_by": OTHER}, True),
        ("192.168.1.7", dict.fromkeys(("source", "contact", "sent_by"), "192.168.1.7"), False),
        ("127.0.0.1", dict.fromkeys(("source", "contact", "sent_by"), "127.0.0.1"), False),
        (PUBLIC, {"source": f"::ffff:{PUBLIC}"}, False),
        ("", {}, False),
    ],
)
def test_signs_of_a_nat(sdp, signalling, is_behind):
    assert is_behind_nat(leg(**signalling), sdp) is is_behind


@pytest.mark.parametrize(
    ("trunk", "is_proven"),
    [
        ({"source_cidrs": ["203.0.113.0/24"]}, True),
        ({"source_cidrs": ["198.51.100.0/24", "203.0.113.7"]}, True),
        ({"source_cidrs": ["198.51.100.0/24"]}, False),
        ({"digest": {"username": "pbx"}}, True),
        ({}, False),
        ({"source_cidrs": ["0.0.0.0/0"]}, False),
        ({"source_cidrs": ["128.0.0.0/1", "0.0.0.0/1"]}, False),
    ],
)
def test_who_is_trusted(trunk, is_proven):
    assert is_trusted(config.Trunk(name="t", **trunk), PUBLIC) is is_proven


def test_a_network_of_nearly_all_ipv6_is_nobodys():
    assert not is_trusted(config.Trunk(source_cidrs=["2000::/3"]), "2001:db8::1")
    assert is_trusted(config.Trunk(source_cidrs=["2001:db8::/32"]), "2001:db8::1")


def test_an_answer_is_acknowledged_by_the_ack_of_the_last_invite():
    record = calls.CallSession(state=calls.CALL_STATE_ANSWERED)
    record.legs.add()
    assert not is_acknowledged(record)
    record.state, record.legs[0].invite.ack_seen = calls.CALL_STATE_ESTABLISHED, True
    assert is_acknowledged(record)
    record.legs[0].invite.ack_seen = False  # a re-INVITE is under way
    assert not is_acknowledged(record)


RELAYS = [("192.0.2.10", 20000, 22399), ("192.0.2.10", 22400, 24799), ("192.0.2.11", 20000, 22399)]


def check(address, source, trunk, *, port=4000):
    ports = RelayMap()
    ports.take(
        [
            registry_api.Relay(
                registration=registry_api.RelayRegistration(
                    advertised_address=host,
                    control_address="10.0.0.1:7100",
                    rtp_first_port=first,
                    rtp_last_port=last,
                )
            )
            for host, first, last in RELAYS
        ]
    )
    media = relay_api.MediaSpec(remote_address=address, remote_rtp_port=port)
    MediaPeers(ConfigHolder(), ports).check_new(media, source, trunk)


@pytest.mark.parametrize("source", [PUBLIC, "192.0.2.10"])
@pytest.mark.parametrize(
    "to", [("192.0.2.10", 20000), ("192.0.2.10", 24799), ("::ffff:192.0.2.11", 21001), ("10.0.0.1", 20000)]
)
def test_no_call_is_sent_to_a_port_of_any_relay(source, to):
    with pytest.raises(Rejected, match="488"):
        check(to[0], source, None, port=to[1])
    check(to[0], source, None, port=24800)
    check("192.0.2.12", source, None, port=to[1])


@pytest.mark.parametrize(
    ("address", "named"),
    [
        ("169.254.169.254", "169.254.169.254"),
        ("::ffff:169.254.169.254", "169.254.169.254"),
        ("255.255.255.255", "255.255.255.255"),
        ("fe80::1", "fe80::1"),
    ],
)
def test_an_address_that_media_never_goes_to_is_refused(address, named):
    with pytest.raises(Rejected, match="488") as refused:
        check(address, PUBLIC, None)
    assert named in dict(refused.value.headers)["Warning"]


def test_what_the_caller_can_mend_by_sending_is_not_refused():
    trunk = config.Trunk(media=config.TrunkMedia(networks=["203.0.113.0/24"]))
    for address in ("127.0.1.1", "10.0.0.7", OTHER, ""):
        check(address, PUBLIC, trunk)
    trunk.media.symmetric = config.SYMMETRIC_MEDIA_OFF
    for address in ("127.0.1.1", "10.0.0.7", OTHER):
        with pytest.raises(Rejected, match="488"):
            check(address, PUBLIC, trunk)
    check("203.0.113.9", PUBLIC, trunk)


async def test_the_registry_tells_the_ports_of_relays(
    edge: TestEdge, registry: FakeRegistry, relay: FakeRelay, caller: Caller
) -> None:
    assert registry
    await edge.until(lambda: edge.app.relay_map.has(relay.address, 20000))
    invite = caller.invite(sdp=with_address(b"192.0.2.10").replace(b"audio 40000", b"audio 20002"))
    caller.send(invite, edge.sip)
    assert (await caller.response(invite)).status == 488


# -- at an edge: its callers are at 127.0.0.1, their media host is 198.51.100.7


def peer_of(relay, call):
    return relay.sessions[call.call_id].media.peer


def with_address(address):
    return SDP.replace(b"198.51.100.7", address)


async def acknowledged(edge: TestEdge, relay: FakeRelay, call: CallerDialog, count: int = 1) -> None:
    await edge.until(lambda: relay.commands(call.call_id).count("acknowledge") == count)


async def test_a_relay_hears_who_signals_and_of_the_ack(
    edge: TestEdge, relay: FakeRelay, caller: Caller
) -> None:
    call = await CallerDialog.answered(caller, edge.sip)
    assert peer_of(relay, call) == relay_api.MediaPeer(signalling_address="127.0.0.1")
    assert relay.commands(call.call_id) == ["allocate", "start"]
    call.ack(edge.sip)
    await acknowledged(edge, relay, call)


async def test_media_at_the_signalling_host_needs_no_word_of_the_ack(
    edge: TestEdge, relay: FakeRelay, caller: Caller
) -> None:
    call = await CallerDialog.established(caller, edge.sip, sdp=with_address(b"127.0.0.1"))
    await call.ask("INVITE", edge.sip, body=with_address(b"127.0.0.1").replace(b"o=- 1 1", b"o=- 1 2"))
    assert "acknowledge" not in relay.commands(call.call_id)


async def test_the_trunk_says_who_is_trusted_and_where_media_is(
    edge: TestEdge, registry: FakeRegistry, relay: FakeRelay, caller: Caller
) -> None:
    gateway = config.GatewayConfig()
    gateway.CopyFrom(edge.app.gateway.current or gateway)
    del gateway.trunks[:]
    gateway.trunks.add(
        name="pbx",
        source_cidrs=["127.0.0.0/8"],
        media=config.TrunkMedia(symmetric=config.SYMMETRIC_MEDIA_ALWAYS, networks=["198.51.100.0/24"]),
    )
    edge.app.gateway.take(gateway)
    call = await CallerDialog.established(caller, edge.sip)
    peer = peer_of(relay, call)
    assert (peer.trusted, peer.symmetric, list(peer.networks)) == (
        True,
        config.SYMMETRIC_MEDIA_ALWAYS,
        ["198.51.100.0/24"],
    )
    assert registry


async def test_a_later_command_does_not_keep_the_ack_from_the_relay(
    edge: TestEdge, relay: FakeRelay, caller: Caller
) -> None:
    call = await CallerDialog.answered(caller, edge.sip)

    async def overtake(command: relay_api.Command) -> None:
        if command.HasField("acknowledge") and "acknowledge" not in (one.kind for one in relay.handled):
            saved = await edge.app.records.update(call.call_id, note)
            relay.sessions[call.call_id].generation = saved.version

    def note(draft: calls.CallSession) -> bool:
        draft.to_display = "noted"
        return True

    relay.on_command = overtake
    call.ack(edge.sip)
    await acknowledged(edge, relay, call)
    answers = [one.status for one in relay.handled if one.kind == "acknowledge"]
    assert answers == [relay_api.COMMAND_STATUS_STALE, relay_api.COMMAND_STATUS_OK]


async def test_a_reinvite_to_another_host_waits_for_its_own_ack(
    edge: TestEdge, relay: FakeRelay, caller: Caller
) -> None:
    call = await CallerDialog.established(caller, edge.sip)
    await acknowledged(edge, relay, call)
    ok = await call.ask("INVITE", edge.sip, body=with_address(b"198.51.100.99"))
    assert relay.sessions[call.call_id].media.remote_address == "198.51.100.99"
    assert not peer_of(relay, call).acknowledged
    call.ack(edge.sip, cseq=ok.cseq.number)
    await acknowledged(edge, relay, call, 2)


async def test_an_update_of_an_acknowledged_call_names_its_sender_as_well_as_an_ack(
    edge: TestEdge, relay: FakeRelay, caller: Caller
) -> None:
    call = await CallerDialog.answered(caller, edge.sip)
    await call.ask("UPDATE", edge.sip, body=with_address(b"198.51.100.98"))
    assert not peer_of(relay, call).acknowledged
    call.ack(edge.sip)
    await acknowledged(edge, relay, call)
    await call.ask("UPDATE", edge.sip, body=with_address(b"198.51.100.99"))
    assert peer_of(relay, call).acknowledged


async def test_the_answer_in_an_ack_is_acknowledged_with_it(
    edge: TestEdge, relay: FakeRelay, caller: Caller
) -> None:
    invite = caller.request("INVITE")
    caller.send(invite, edge.sip)
    call = CallerDialog(caller, invite, await caller.response(invite, 200))
    assert not peer_of(relay, call).acknowledged
    call.ack(edge.sip, body=SDP)
    await edge.until(lambda: relay.sessions[call.call_id].media.remote_address == "198.51.100.7")
    assert peer_of(relay, call).acknowledged


async def test_the_next_edge_tells_the_relay_of_an_ack_that_was_seen(
    start_edge, edge: TestEdge, relay: FakeRelay, caller: Caller
) -> None:
    call = await CallerDialog.established(caller, edge.sip)
    await acknowledged(edge, relay, call)
    other = await start_edge("edge-1")
    await edge.kill()
    await other.until(lambda: "adopt" in relay.commands(call.call_id), 20)
    (adopt, *_) = [one.command.adopt for one in relay.handled if one.kind == "adopt"]
    assert adopt.acknowledged


async def test_a_move_of_an_acknowledged_call_says_so(
    edge: TestEdge, registry: FakeRegistry, relay: FakeRelay, other_relay: FakeRelay, caller: Caller
) -> None:
    registry.relays.append(other_relay)
    call = await CallerDialog.established(caller, edge.sip)
    await acknowledged(edge, relay, call)
    relay.emit(call.call_id, move_requested=relay_api.MoveRequested())
    await edge.until(lambda: "start" in other_relay.commands(call.call_id))
    assert other_relay.sessions[call.call_id].spec.media.peer.acknowledged
    assert peer_of(other_relay, call).acknowledged


@pytest.mark.parametrize("address", [b"169.254.169.254", b"255.255.255.255"])
async def test_an_invite_with_such_an_address_gets_488_and_no_relay(
    edge: TestEdge, relay: FakeRelay, caller: Caller, address: bytes
) -> None:
    invite = caller.invite(sdp=with_address(address))
    caller.send(invite, edge.sip)
    refused = await caller.response(invite)
    assert refused.status == 488
    assert address.decode() in (refused.headers.get("Warning") or "")
    assert relay.handled == []


async def test_a_reinvite_with_such_an_address_gets_488_and_the_call_goes_on(
    edge: TestEdge, relay: FakeRelay, caller: Caller
) -> None:
    call = await CallerDialog.established(caller, edge.sip)
    assert (await call.ask("INVITE", edge.sip, body=with_address(b"169.254.169.254"))).status == 488
    assert relay.sessions[call.call_id].media.remote_address == "198.51.100.7"


async def test_hold_by_0_0_0_0_works_as_before(edge: TestEdge, relay: FakeRelay, caller: Caller) -> None:
    call = await CallerDialog.established(caller, edge.sip)
    held = SDP.replace(b"c=IN IP4 198.51.100.7", b"c=IN IP4 0.0.0.0")
    ok = await call.ask("INVITE", edge.sip, body=held)
    assert ok.status == 200
    call.ack(edge.sip, cseq=ok.cseq.number)
    media = relay.sessions[call.call_id].media
    assert (media.direction, media.remote_address) == (relay_api.MEDIA_DIRECTION_RECVONLY, "")
    resumed = await call.ask("INVITE", edge.sip, body=SDP.replace(b"o=- 1 1", b"o=- 1 3"))
    assert resumed.status == 200
    assert relay.sessions[call.call_id].media.remote_address == "198.51.100.7"


async def test_an_ack_with_such_an_address_ends_the_call(
    edge: TestEdge, relay: FakeRelay, caller: Caller
) -> None:
    invite = caller.request("INVITE")
    caller.send(invite, edge.sip)
    call = CallerDialog(caller, invite, await caller.response(invite, 200))
    call.ack(edge.sip, body=with_address(b"169.254.169.254"))
    await caller.peer_request("BYE")
    await edge.until(lambda: call.call_id not in relay.sessions)
