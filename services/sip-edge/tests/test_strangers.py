"""Strangers over real sockets: refused before they cost anything, and never to the harm of a live call."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from prometheus_client import REGISTRY

from edge_kit.caller import Caller, CallerDialog, ack_failure
from edge_kit.edges import TestEdge
from edge_kit.fake_registry import FakeRegistry
from sipgw.api.config.v1 import config_pb2 as config
from sipgw.config import SealKey
from sipgw.sip import Challenge, SipRequest, SipResponse, answer_challenges, make_cancel, serialize
from sipgw.sip_edge.limits import BanLimits, EdgeLimits, SetupWindowLimits, StrangerLimits
from sipgw.store.testing import RedisServer

KEY = b"k" * 32
PASSWORD = b"correct horse"
STRANGER = "127.0.0.66"
LIMITS = EdgeLimits(strangers=StrangerLimits(bans=BanLimits(first_s=30)))


@pytest.fixture
async def stranger() -> AsyncIterator[Caller]:
    one = await Caller.open(STRANGER)
    yield one
    one.close()


@pytest.fixture
async def edge(start_edge: Callable[..., Awaitable[TestEdge]], tmp_path) -> TestEdge:
    key_file = tmp_path / "seal.key"
    key_file.write_bytes(KEY)
    return await start_edge(limits=LIMITS, seal_key_file=key_file, trusted=("127.0.0.1",))


def use_trunks(edge: TestEdge, *trunks: config.Trunk) -> None:
    """Put a config with these trunks into force."""
    assert edge.app.gateway.current is not None
    changed = config.GatewayConfig()
    changed.CopyFrom(edge.app.gateway.current)
    del changed.trunks[:]
    changed.trunks.extend(trunks)
    edge.app.updates.take(changed)


CARRIER = config.Trunk(name="carrier", source_cidrs=["203.0.113.0/24"])


def password_trunk() -> config.Trunk:
    trunk = config.Trunk(name="pbx")
    trunk.digest.username = "alice"
    trunk.digest.sealed_password = SealKey(KEY).seal(PASSWORD, "trunk pbx digest")
    return trunk


def is_banned(edge: TestEdge, source: str = STRANGER) -> bool:
    return source in [ban.source for ban in edge.app.guard.list_bans()]


def dropped() -> float:
    """Give the number of datagrams of banned sources that were dropped, as the metrics show it."""
    return REGISTRY.get_sample_value("sipgw_edge_datagrams_dropped_total", {"why": "banned"}) or 0.0


async def get_banned(edge: TestEdge, caller: Caller) -> None:
    """Send messages until the stranger is banned."""
    for _ in range(40):
        caller.send(caller.request("REGISTER"), edge.sip)
    await edge.until(lambda: is_banned(edge, caller.host))


async def final(caller: Caller, edge: TestEdge, request: SipRequest) -> SipResponse:
    caller.send(request, edge.sip)
    response = await caller.response(request)
    if response.is_failure and request.method == "INVITE":
        ack_failure(caller, request, response, edge.sip)
    return response


async def is_silent(edge: TestEdge, caller: Caller, request: SipRequest) -> bool:
    """Return whether a request is dropped: datagrams are read in order, and a later one of an exempt source
    gets a response.
    """
    other = await Caller.open()
    try:
        caller.send(request, edge.sip)
        await asyncio.sleep(0)
        assert (await final(other, edge, other.request("OPTIONS"))).status == 200
    finally:
        other.close()
    return not any(one.via.branch == request.via.branch for one in caller.responses)


async def test_a_source_of_no_trunk_is_refused_once_with_no_window_no_record_and_no_redis(
    edge: TestEdge, stranger: Caller, redis: RedisServer
) -> None:
    use_trunks(edge, CARRIER)
    window = edge.app.intake._entry._window
    window._in_hand = window.size  # the window is full: a further call gets 503
    redis.stop()  # a call that needs Redis gets 503
    invite = stranger.invite()
    refusal = await final(stranger, edge, invite)
    assert (refusal.status, refusal.reason) == (403, "No Trunk For This Source")
    again = await final(stranger, edge, invite)
    assert again.to.tag == refusal.to.tag
    assert {one.status for one in stranger.responses} == {403}  # not even a 100
    assert not edge.app.records.owned
    assert edge.app.sip._layer.live_transactions == 0


async def test_a_trusted_source_of_no_trunk_gets_no_record_either(edge: TestEdge, caller: Caller) -> None:
    use_trunks(edge, CARRIER)
    refusal = await final(caller, edge, caller.invite())
    assert (refusal.status, refusal.reason) == (403, "No Trunk For This Source")
    assert await edge.app.records.load((refusal.to.tag or "")[:32]) is None


@pytest.mark.parametrize("kind", ["INVITE", "OPTIONS", "REGISTER", "malformed", "a made-up tag"])
async def test_a_stranger_that_sends_too_much_is_banned_and_then_gets_no_answer(
    edge: TestEdge, stranger: Caller, kind: str
) -> None:
    use_trunks(edge, CARRIER)
    for _ in range(31):
        if kind == "malformed":
            stranger.send(b"INVITE sip:x SIP/2.0\r\nVia: \r\n\r\n", edge.sip)
        elif kind == "a made-up tag":
            stranger.send(stranger.request("BYE", to="<sip:bot@x>;tag=made-up"), edge.sip)
        else:
            stranger.send(stranger.request(kind), edge.sip)
    await edge.until(lambda: is_banned(edge))
    before = dropped()
    assert await is_silent(edge, stranger, stranger.request("OPTIONS"))
    assert await is_silent(edge, stranger, stranger.invite())
    assert dropped() == before + 2


async def test_retransmissions_are_not_new_requests(edge: TestEdge, stranger: Caller) -> None:
    use_trunks(edge, config.Trunk(name="any"))
    ping = stranger.request("OPTIONS")
    for _ in range(60):
        stranger.send(ping, edge.sip)
    assert (await final(stranger, edge, stranger.request("OPTIONS"))).status == 200
    assert not is_banned(edge)


async def test_sources_of_a_trunk_and_trusted_ones_are_never_banned(
    edge: TestEdge, stranger: Caller, caller: Caller
) -> None:
    use_trunks(edge, config.Trunk(name="carrier", source_cidrs=["127.0.0.64/29"]))
    for one in (stranger, caller):
        for _ in range(60):
            one.send(one.request("OPTIONS"), edge.sip)
        assert (await final(one, edge, one.request("OPTIONS"))).status == 200
    assert not edge.app.guard.list_bans()


@pytest.mark.parametrize("cidrs", [[], ["0.0.0.0/0"], ["0.0.0.0/1", "128.0.0.0/1"]], ids=str)
async def test_a_trunk_that_takes_any_source_exempts_nobody(
    edge: TestEdge, stranger: Caller, cidrs: list[str]
) -> None:
    use_trunks(edge, config.Trunk(name="open", source_cidrs=cidrs))
    assert (await final(stranger, edge, stranger.invite())).status == 200
    await get_banned(edge, stranger)


async def test_a_ban_leaves_the_calls_of_its_source_alone(
    edge: TestEdge, stranger: Caller, registry: FakeRegistry
) -> None:
    """BYE, the ACK of a 200 and a CANCEL of a banned source are served, and its responses to our requests."""
    use_trunks(edge, config.Trunk(name="any"))
    call = await CallerDialog.answered(stranger, edge.sip)
    hung_up_by_us = await CallerDialog.established(stranger, edge.sip)
    registry.relays[0].bot_ready = False
    ringing = stranger.invite()
    stranger.send(ringing, edge.sip)
    await stranger.response(ringing, 180)
    await get_banned(edge, stranger)
    call.ack(edge.sip)
    await edge.until(lambda: not edge.app.responses.is_waiting(call.call_id))
    assert (await final(stranger, edge, call.next("INFO"))).status == 200
    assert (await final(stranger, edge, call.next("BYE"))).status == 200
    cancel = make_cancel(ringing)
    assert (await final(stranger, edge, cancel)).status == 200
    assert (await stranger.response(ringing)).status == 487
    await edge.app.ending.end(hung_up_by_us.call_id, _hangup(), as_owner=True)
    await edge.until(lambda: edge.app.sip.pending_requests == 0)
    assert len({one.via.branch for one in stranger.requests if one.method == "BYE"}) == 1
    await edge.until(lambda: not len(edge.app.live))


async def test_tags_that_no_edge_made_take_nothing_from_the_calls_of_a_banned_source(
    edge: TestEdge, start_edge: Callable[..., Awaitable[TestEdge]], stranger: Caller
) -> None:
    """The other edge knows our tags without Redis, and reads few messages that might be of an edge's call."""
    other = await start_edge("edge-1", limits=LIMITS, trusted=("127.0.0.1",))
    use_trunks(edge, config.Trunk(name="any"))
    use_trunks(other, config.Trunk(name="any"))
    call = await CallerDialog.established(stranger, edge.sip)
    await other.until(lambda: len(other.app.edges.live) == 1)
    await get_banned(other, stranger)
    # this key is the last that the other edge learns
    await other.until(lambda: other.app.authentication._known_key is not None)
    forged = serialize(call.next("INFO")).replace(call.call_id.encode(), call.call_id[::-1].encode())
    for _ in range(100):
        stranger.send(forged, other.sip)
    assert (await final(stranger, other, call.next("BYE"))).status == 200


async def challenged(caller: Caller, edge: TestEdge) -> tuple[SipRequest, SipResponse]:
    first = caller.invite(from_=f"<sip:alice@127.0.0.1>;tag=a{caller.port}")
    refusal = await final(caller, edge, first)
    assert refusal.status == 401
    return first, refusal


def proving(
    caller: Caller, first: SipRequest, refusal: SipResponse, password: bytes = PASSWORD
) -> SipRequest:
    credentials = answer_challenges(
        refusal.headers.get_all("WWW-Authenticate"),
        method="INVITE",
        uri="sip:bot@127.0.0.1",
        username="alice",
        password=password,
        cnonce="c",
    )
    return caller.invite(
        headers=(("Authorization", str(credentials)),),
        call_id=first.call_id,
        from_=first.headers.get("From"),
        cseq=2,
    )


async def test_an_invite_with_the_right_password_gets_past_a_ban_and_exempts_its_source(
    edge: TestEdge, stranger: Caller
) -> None:
    use_trunks(edge, password_trunk())
    first, refusal = await challenged(stranger, edge)
    await get_banned(edge, stranger)
    assert (await final(stranger, edge, proving(stranger, first, refusal))).status == 200
    assert not is_banned(edge)
    for _ in range(100):
        stranger.send(stranger.request("OPTIONS"), edge.sip)
    assert (await final(stranger, edge, stranger.request("OPTIONS"))).status == 200
    assert not is_banned(edge)


async def test_a_banned_source_is_still_asked_for_its_password(edge: TestEdge, stranger: Caller) -> None:
    """A nonce is good for one INVITE, so without a challenge it could never give the right password."""
    use_trunks(edge, password_trunk())
    await get_banned(edge, stranger)
    first, refusal = await challenged(stranger, edge)
    assert (await final(stranger, edge, proving(stranger, first, refusal))).status == 200


async def test_wrong_passwords_count_and_lift_nothing(edge: TestEdge, stranger: Caller) -> None:
    use_trunks(edge, password_trunk())
    first, refusal = await challenged(stranger, edge)
    await get_banned(edge, stranger)
    wrong = await final(stranger, edge, proving(stranger, first, refusal, b"guess"))
    assert wrong.status == 403
    assert is_banned(edge)
    assert await is_silent(edge, stranger, stranger.request("OPTIONS"))


async def test_a_challenge_is_sent_once_and_costs_no_transaction(edge: TestEdge, stranger: Caller) -> None:
    use_trunks(edge, password_trunk())
    await edge.until(lambda: edge.app.authentication._known_key is not None)
    invite = stranger.invite()
    stranger.send(invite, edge.sip)
    await stranger.response(invite, 401)
    assert edge.app.sip._layer.live_transactions == 0
    assert [one.status for one in stranger.responses] == [401]
    challenge = Challenge.parse(stranger.responses[0].headers.get_all("WWW-Authenticate")[0])
    assert challenge is not None


async def test_a_trunks_calls_above_its_rate_get_503_and_no_ban(edge: TestEdge, stranger: Caller) -> None:
    trunk = config.Trunk(name="carrier", source_cidrs=[STRANGER], calls_per_second=2)
    use_trunks(edge, trunk, config.Trunk(name="any"))
    answers = []
    for _ in range(40):
        invite = stranger.invite()
        stranger.send(invite, edge.sip)
        answers.append(invite)
    finals = [await stranger.response(invite) for invite in answers]
    refused = [one for one in finals if one.status == 503]
    assert 2 <= len(finals) - len(refused) <= 4  # two, and what a slow second adds
    assert all(one.headers.get("Retry-After") for one in refused)
    assert {one.reason for one in refused} == {"Trunk Call Rate Reached"}
    assert not edge.app.guard.list_bans()


async def test_strangers_get_half_of_the_window(
    start_edge: Callable[..., Awaitable[TestEdge]], stranger: Caller, caller: Caller, registry: FakeRegistry
) -> None:
    limits = EdgeLimits(window=SetupWindowLimits(least=4, most=4))
    edge = await start_edge(limits=limits)
    use_trunks(edge, config.Trunk(name="any"))
    async with registry.paused():
        waiting = [stranger.invite() for _ in range(3)]
        for invite in waiting:
            stranger.send(invite, edge.sip)
        refused = await stranger.response(waiting[2])
        assert (refused.status, refused.reason) == (503, "Overloaded")
        invite = caller.invite()
        caller.send(invite, edge.sip)
    assert (await caller.response(invite)).status == 200


async def test_bans_are_logged_once_each_and_the_first_names_trust(
    edge: TestEdge, stranger: Caller, capsys: pytest.CaptureFixture[str]
) -> None:
    other = await Caller.open("127.0.0.67")
    await get_banned(edge, stranger)
    await get_banned(edge, other)
    other.close()
    for _ in range(10):
        stranger.send(serialize(stranger.request("OPTIONS")), edge.sip)
    assert await is_silent(edge, stranger, stranger.request("OPTIONS"))
    lines = [line for line in "".join(capsys.readouterr()).splitlines() if "source_banned" in line]
    assert len(lines) == 2
    assert f"--trust {STRANGER}" in lines[0]
    assert "--trust" not in lines[1]


def _hangup():
    from sipgw.api.calls.v1 import session_pb2 as calls
    from sipgw.sip_edge.call.ending import End

    return End(calls.END_CAUSE_OPERATOR, "test")
