"""Calls change their relay under real RTP: when it died, when it froze, and on purpose while it drains."""

import asyncio
import contextlib
import itertools
import signal
import time
from collections.abc import AsyncIterator, Callable

import pytest
from gatewaykit.bots import StartBot
from gatewaykit.gateway import Gateway, eventually
from gatewaykit.phone import Phone, PhoneCall
from gatewaykit.rtp import SILENCE, noise, worst_gap

from sipgw.bot import BotServer, Call, CallEnded, Dtmf, Resumed
from sipgw.runtime.patience import patient

pytestmark = pytest.mark.system
LOST_GAP_S = 2.0  # both on a quiet machine: see `patient`
DRAIN_GAP_S = 0.5
SILENCE_1S = bytes([SILENCE]) * 8000


class Conversations:
    """An echo bot on the SDK in this process; it notes its callers, and when it heard them."""

    def __init__(self) -> None:
        self.calls: dict[str, list[Call]] = {}
        self.seqs: dict[str, list[int]] = {}
        self.heard_at: dict[str, list[float]] = {}
        self.resumed: list[str] = []
        self.digits: list[str] = []
        self.ended: list[str] = []

    async def __call__(self, call: Call) -> None:
        self.calls.setdefault(call.call_id, []).append(call)
        watching = asyncio.create_task(self._watch(call))
        with contextlib.suppress(CallEnded):  # frames may be left when the call ends
            async for frame in call.frames():
                if not frame.concealed:
                    self.seqs.setdefault(call.call_id, []).append(frame.seq)
                    self.heard_at.setdefault(call.call_id, []).append(time.monotonic())
                    await call.play_raw(frame.data)
        await watching
        self.ended.append(call.end_reason)

    async def _watch(self, call: Call) -> None:
        async for event in call.events():
            if isinstance(event, Resumed):
                self.resumed.append(call.call_id)
            elif isinstance(event, Dtmf):
                self.digits.append(event.digit)

    def worst_gap(self) -> float:
        """Return the worst gap between two frames of any caller, in seconds."""
        return max(b - a for at in self.heard_at.values() for a, b in itertools.pairwise(at))

    def assert_each_is_one(self, count: int) -> None:
        """Check that there are that many conversations, each without a break, with `seq` only rising."""
        assert [len(calls) for calls in self.calls.values()] == [1] * count
        for seqs in self.seqs.values():
            assert all(a < b for a, b in itertools.pairwise(seqs)), "seq went back"


@pytest.fixture
async def conversations() -> AsyncIterator[Callable[[Gateway], object]]:
    servers: list[BotServer] = []

    async def start(gateway: Gateway) -> Conversations:
        bot = Conversations()
        servers.append(BotServer(bot, host="127.0.0.1", port=gateway.routes["converse"].port))
        await servers[-1].start()
        return bot

    yield start
    for server in servers:
        await server.stop(0)


async def relay_of(gateway: Gateway, call: PhoneCall) -> str:
    return next((c.relay.name for c in await gateway.calls() if c.sip_call_id == call.call_id), "")


async def moved_to(gateway: Gateway, name: str, *calls: PhoneCall, timeout_s: float = 10) -> None:
    async def all_there() -> bool:
        return all([await relay_of(gateway, call) == name for call in calls])

    await eventually(all_there, timeout_s)


async def drain(gateway: Gateway, name: str, *, on: bool = True) -> None:
    """Tell the registry to drain a relay (or not to), and wait until the relay has begun (or stopped)."""
    (relay,) = [one for one in gateway.relays if one.name == name]
    begin, event = relay.log_size(), "drain_begun" if on else "drain_stopped"
    client = gateway.client()
    try:
        await client.drain_relay(name, drain=on)
    finally:
        await client.aclose()
    await eventually(lambda: _is(any(line["event"] == event for line in relay.lines(begin))), 5)


async def hears_audio(call: PhoneCall) -> None:
    """Whether a call hears a second of audio."""
    await eventually(lambda: _is(len(call.rtp.received) >= 50), 5)


def has_paused(call: PhoneCall) -> bool:
    """Whether this machine held a caller up so long that its relay may take it for a pause in speech."""
    return max(b - a for a, b in itertools.pairwise(call.rtp.sent_at)) > 0.25


async def _is(what: bool) -> bool:
    return what


async def test_the_config_says_when_calls_leave_a_draining_relay_in_mid_word(
    own_gateway: Gateway, phone: Phone, conversations
) -> None:
    bot = await conversations(own_gateway)
    client = own_gateway.client()
    config = await client.get_config()
    assert config is not None
    config.gateway.drain_deadline_seconds = 1
    await client.put_config(config, config.version)
    await client.aclose()
    call = await phone.call("converse", own_gateway.sip())
    talking = asyncio.create_task(call.rtp.stream(noise(8, seed=49), lambda: call.media))

    async def is_heard() -> bool:
        return bool(bot.seqs)

    await eventually(is_heard, 5)
    began = time.monotonic()
    await drain(own_gateway, "relay-0")
    await moved_to(own_gateway, "relay-1", call, timeout_s=5)
    assert has_paused(call) or time.monotonic() - began > 0.8, "not before the deadline"
    assert not talking.done(), "nobody paused"
    await talking
    assert (await call.bye()).status == 200


async def test_a_call_outlives_its_relay_and_the_bot_hears_one_conversation(
    own_gateway: Gateway, phone: Phone, conversations
) -> None:
    bot = await conversations(own_gateway)
    call = await phone.call("converse", own_gateway.sip())
    audio = noise(6, seed=50)
    talking = asyncio.create_task(call.rtp.stream(audio, lambda: call.media))
    await hears_audio(call)
    own_gateway.relays[0].kill()
    await talking
    gap = worst_gap(call.rtp, audio)
    print(f"gap at the caller {gap:.3f} s, at the bot {bot.worst_gap():.3f} s")
    assert gap < patient(LOST_GAP_S)
    assert len(call.moves) == 1
    bot.assert_each_is_one(1)
    assert len(bot.resumed) == 1
    assert len({packet.ssrc for packet in call.rtp.received}) == 2
    assert (await call.bye()).status == 200
    await eventually(lambda: _is(len(bot.ended) == 1), 5)


async def test_five_calls_leave_a_draining_relay_each_once_without_a_gap(
    draining_gateway: Gateway, phone: Phone, conversations
) -> None:
    gateway = draining_gateway
    bot = await conversations(gateway)
    calls = [await phone.call("converse", gateway.sip(n % 2)) for n in range(5)]
    audio = [noise(6, seed=60 + n) for n in range(5)]
    talking = [
        asyncio.create_task(call.rtp.stream(said, lambda call=call: call.media))
        for call, said in zip(calls, audio, strict=True)
    ]
    await asyncio.gather(*(hears_audio(call) for call in calls))
    await drain(gateway, "relay-0")
    await asyncio.gather(*talking)
    gaps = [worst_gap(call.rtp, said) for call, said in zip(calls, audio, strict=True)]
    print(f"gaps at callers {[f'{gap:.3f}' for gap in gaps]} s, at the bot {bot.worst_gap():.3f} s")
    assert max(gaps) < patient(DRAIN_GAP_S)
    assert bot.worst_gap() < patient(DRAIN_GAP_S)
    assert [len(call.moves) for call in calls] == [1] * 5
    bot.assert_each_is_one(5)
    await moved_to(gateway, "relay-1", *calls)
    for call in calls:
        assert (await call.bye()).status == 200
    await eventually(lambda: _is(len(bot.ended) == 5), 5)


async def test_a_relay_that_gets_sigterm_moves_its_calls_and_ends(
    draining_gateway: Gateway, phone: Phone, conversations
) -> None:
    gateway = draining_gateway
    await conversations(gateway)
    call = await phone.call("converse", gateway.sip())
    gateway.relays[0].signal(signal.SIGTERM)
    await moved_to(gateway, "relay-1", call)

    async def has_ended() -> bool:
        return not gateway.relays[0].is_running

    await eventually(has_ended, 8)
    assert gateway.relays[0].exit_status == 0
    assert not call.ended.is_set()
    assert (await call.bye()).status == 200


async def test_a_caller_that_refuses_stays_until_the_relays_time_is_over(
    draining_gateway: Gateway, phone: Phone
) -> None:
    gateway = draining_gateway
    call = await phone.call("builtin", gateway.sip())
    call.reinvite_status = 488
    began = time.monotonic()
    gateway.relays[0].signal(signal.SIGTERM)
    await eventually(lambda: _is(any(m.method == "INVITE" and not m.status for m in call.seen)), 5)
    audio = noise(1, seed=70)
    await call.rtp.stream(audio, call.media)
    assert worst_gap(call.rtp, audio) < patient(DRAIN_GAP_S), "it is still served"
    assert not call.ended.is_set()
    await call.wait_ended(15)
    assert time.monotonic() - began > 11, "not before"


async def test_undrained_a_relay_keeps_what_it_has(own_gateway: Gateway, phone: Phone) -> None:
    """Its callers speak, so the calls would leave only at the deadline."""
    gateway = own_gateway
    call = await phone.call("builtin", gateway.sip())
    talking = asyncio.create_task(call.rtp.stream(noise(5, seed=71), lambda: call.media))
    await hears_audio(call)
    await drain(gateway, "relay-0")
    await drain(gateway, "relay-0", on=False)
    had_moved = list(call.moves)
    assert has_paused(call) or not had_moved
    await talking
    await call.rtp.stream(SILENCE_1S, lambda: call.media)
    assert call.moves == had_moved
    other = await phone.call("builtin", gateway.sip())
    await moved_to(gateway, "relay-0", other)


async def test_a_call_moves_at_a_pause_in_speech(own_gateway: Gateway, phone: Phone) -> None:
    gateway = own_gateway
    call = await phone.call("builtin", gateway.sip())
    talking = asyncio.create_task(call.rtp.stream(noise(4, seed=72), lambda: call.media))
    await hears_audio(call)
    await drain(gateway, "relay-0")
    await talking
    assert has_paused(call) or not call.moves, "in mid-word"
    pausing = asyncio.create_task(call.rtp.stream(SILENCE_1S * 10, lambda: call.media))
    await eventually(lambda: _is(len(call.moves) == 1), 10)
    pausing.cancel()


async def test_an_old_bot_stays_on_a_draining_relay_and_gets_a_new_stream_after_a_crash(
    draining_gateway: Gateway, phone: Phone, start_bot: StartBot
) -> None:
    gateway = draining_gateway
    bot = start_bot(gateway, "old")
    call, other = await phone.call("old", gateway.sip()), await phone.call("builtin", gateway.sip())
    audio = noise(7, seed=73)
    talking = asyncio.create_task(call.rtp.stream(audio, lambda: call.media))
    beside_it = asyncio.create_task(other.rtp.stream(noise(7, seed=77), lambda: other.media))
    await hears_audio(call)
    await drain(gateway, "relay-0")
    await eventually(lambda: _is(len(other.moves) == 1), 5)
    assert not call.moves, "at the deadline"
    gateway.relays[0].kill()
    await asyncio.gather(talking, beside_it)
    assert worst_gap(call.rtp, audio) < patient(LOST_GAP_S)
    await eventually(lambda: _is(len(bot.said("call_started")) == 2), 5)
    assert (await call.bye()).status == 200
    await eventually(lambda: _is(len(bot.said("call_ended")) == 2), 5)
    assert [line["unknown_events"] for line in bot.said("call_ended")] == [0, 0]


async def test_the_other_edge_goes_on_with_a_move_whose_edge_dies(
    own_gateway: Gateway, phone: Phone, conversations
) -> None:
    gateway = own_gateway
    bot = await conversations(gateway)
    call = await phone.call("converse", gateway.sip(0))
    call.reinvite_status = None
    gateway.relays[0].kill()
    await eventually(lambda: _is(any(m.method == "INVITE" and not m.status for m in call.seen)), 5)
    gateway.edges[0].kill()
    call.reinvite_status = 200
    await moved_to(gateway, "relay-1", call, timeout_s=20)
    call.destination = gateway.sip(1)
    audio = noise(1, seed=74)
    await call.rtp.stream(audio, call.media)
    assert worst_gap(call.rtp, audio) < patient(DRAIN_GAP_S)
    bot.assert_each_is_one(1)
    invites = {m["cseq"] for m in call.seen if m.method == "INVITE" and not m.status}
    assert len(invites) == 2, "an edge at another address can't send the same one again"
    assert (await call.bye()).status == 200


async def test_a_frozen_relay_is_left_and_is_silent_when_it_wakes(
    own_gateway: Gateway, phone: Phone, conversations
) -> None:
    gateway = own_gateway
    bot = await conversations(gateway)
    call = await phone.call("converse", gateway.sip())
    audio = noise(8, seed=75)
    talking = asyncio.create_task(call.rtp.stream(audio, lambda: call.media))
    await hears_audio(call)
    old_ssrc = {packet.ssrc for packet in call.rtp.received}
    gateway.relays[0].signal(signal.SIGSTOP)
    try:
        await eventually(lambda: _is(len(call.moves) == 1), 5)
        await asyncio.sleep(1.5)
    finally:
        woken = time.monotonic()
        gateway.relays[0].signal(signal.SIGCONT)
    await talking
    gap = worst_gap(call.rtp, audio)
    print(f"gap at the caller {gap:.3f} s")
    assert gap < patient(LOST_GAP_S)
    stale = [packet for packet in call.rtp.received if packet.ssrc in old_ssrc and packet.at > woken + 0.005]
    assert not stale, f"{len(stale)} packets of the relay that was left"
    bot.assert_each_is_one(1)

    async def is_empty() -> bool:
        client = gateway.client()
        try:
            relays = {r.registration.relay.name: r.calls for r in await client.list_relays() if r.healthy}
        finally:
            await client.aclose()
        return relays == {"relay-0": 0, "relay-1": 1}

    await eventually(is_empty, 10)
    assert (await call.bye()).status == 200


async def test_with_mtls_calls_outlive_their_relay_and_leave_a_draining_one_too(
    cluster_gateway: Gateway, phone: Phone
) -> None:
    """The services have certificates of their roles."""
    gateway = cluster_gateway
    call = await phone.call("builtin", gateway.sip())
    gateway.relays[0].kill()
    await eventually(lambda: _is(len(call.moves) == 1), 5)
    await moved_to(gateway, "relay-1", call)
    gateway.start_relay(0)
    await drain(gateway, "relay-1")
    await moved_to(gateway, "relay-0", call, timeout_s=15)
    audio = noise(1, seed=76)
    await call.rtp.stream(audio, call.media)
    assert worst_gap(call.rtp, audio) < patient(DRAIN_GAP_S)
    assert (await call.bye()).status == 200
