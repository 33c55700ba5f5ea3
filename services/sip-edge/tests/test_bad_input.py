"""Thousands of mutated messages, floods and unexpected requests: the edge survives and responds."""

import random
import re

from edge_kit.caller import SDP, Caller, CallerDialog
from edge_kit.edges import TestEdge
from edge_kit.fake_relay import FakeRelay
from sipgw.sdp import MediaCapabilities
from sipgw.sip import serialize
from sipgw.sip_edge.errors import Rejected
from sipgw.sip_edge.gateway_config import capabilities_of
from sipgw.sip_edge.media import sdp_exchange

_MUTATIONS = 10_000
_BATCH = 50


def _mutated(data: bytes, chance: random.Random) -> bytes:
    mutant = bytearray(data)
    for _ in range(chance.randint(1, 8)):
        place = chance.randrange(len(mutant))
        match chance.randrange(4):
            case 0:
                mutant[place] = chance.randrange(256)
            case 1:
                del mutant[place : place + chance.randint(1, 20)]
            case 2:
                mutant[place:place] = bytes(chance.randrange(256) for _ in range(chance.randint(1, 10)))
            case _:
                mutant[place:place] = mutant[: chance.randint(1, 200)]
        if not mutant:
            return b"x"
    return bytes(mutant)


async def test_ten_thousand_mutated_messages_and_the_call_under_way_goes_on(
    edge: TestEdge, relay: FakeRelay, caller: Caller
) -> None:
    chance = random.Random(3)
    call = await CallerDialog.established(caller, edge.sip)
    stranger = await Caller.open()
    stranger.is_deaf = True
    relay.bot_ready = False  # mutants that still are INVITEs only ring
    seeds = [
        serialize(stranger.invite()),
        serialize(stranger.request("OPTIONS")),
        serialize(stranger.request("BYE", to=f"<sip:b@x>;tag={call.ok.to.tag}")),
        serialize(call.ok),
        serialize(stranger.invite(sdp=SDP.replace(b"a=rtpmap:101 telephone-event/8000", b"a=rtpmap:101"))),
    ]
    for number in range(_MUTATIONS):
        stranger.send(_mutated(seeds[number % len(seeds)], chance), edge.sip)
        if number % _BATCH == 0:  # the kernel's buffer is not what is tested
            probe = caller.request("OPTIONS")
            caller.send(probe, edge.sip)
            assert (await caller.response(probe)).status == 200
    assert (await call.ask("BYE", edge.sip)).status == 200
    stranger.close()


_FILLINGS = (
    b"0 1 -1 9 65535 65536 127 128 256 4294967296 99999999999999999999 host.example 0.0.0.0 :: "
    b"255.255.255.255 8000 20.5 \xff 1/2 PCMU telephone-event 2001:db8::1%eth0 +1"
).split(b" ")


def test_no_offer_is_anybodys_fault_but_its_senders() -> None:
    """An offer with damaged lines is served or gets 400 or 488, never another failure."""
    chance = random.Random(5)
    capabilities = capabilities_of(None)
    for _ in range(4000):
        offer = SDP
        for _ in range(chance.randint(1, 3)):
            word = chance.choice(list(re.finditer(rb"[^ :/\r\n=]+", offer)))
            offer = offer[: word.start()] + chance.choice(_FILLINGS) + offer[word.end() :]
        assert _status_of(offer, capabilities) in {200, 400, 488}, offer


def _status_of(offer: bytes, capabilities: MediaCapabilities) -> int:
    try:
        media = sdp_exchange.negotiate(sdp_exchange.read_offer(offer), capabilities)
    except Rejected as rejected:
        return rejected.status
    return 200 if max(media.remote_rtp_port, media.remote_rtcp_port) <= 65535 else 500


async def test_an_rtpmap_that_is_malformed_costs_only_its_own_format(
    edge: TestEdge, relay: FakeRelay, caller: Caller
) -> None:
    broken = SDP.replace(b"a=rtpmap:101 telephone-event/8000", b"a=rtpmap:101\r\na=rtpmap:8 x")
    call = await CallerDialog.established(caller, edge.sip, sdp=broken)
    assert b"RTP/AVP 0\r\n" in call.ok.body
    assert not relay.sessions[call.call_id].media.HasField("telephone_event")


async def test_calls_beyond_what_can_be_set_up_at_once_get_503(edge: TestEdge, caller: Caller) -> None:
    from dataclasses import replace

    limits = replace(edge.app.intake._settings.limits, setups=0)
    edge.app.intake._settings = replace(edge.app.intake._settings, limits=limits)
    invite = caller.invite()
    caller.send(invite, edge.sip)
    assert (await caller.response(invite)).status == 503
