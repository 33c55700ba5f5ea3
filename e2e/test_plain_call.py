"""A call by a plain phone is set up, heard and ended, and audio through PCMU echo comes back bit-exact."""

import asyncio

import pytest
from gatewaykit.bots import StartBot
from gatewaykit.gateway import Gateway, eventually
from gatewaykit.phone import Phone
from gatewaykit.rtp import FRAME, echoed_frames, echoed_share, longest_echo, noise, sequence_gaps

pytestmark = pytest.mark.system


@pytest.mark.parametrize("user", ["echo", "builtin", "old"])
async def test_audio_through_pcmu_echo_comes_back_bit_exact(
    gateway: Gateway, phone: Phone, start_bot: StartBot, user: str
) -> None:
    """Frames are concealed when the machine stalls, so one of three has to be whole."""
    if user == "old":
        start_bot(gateway, "old")
    came_back: list[str] = []
    for seed in (1, 2, 3):
        audio = noise(4, seed)
        call = await phone.call(user, gateway.sip())
        await call.rtp.stream(audio, call.media)
        await asyncio.sleep(0.5)
        assert (await call.bye()).status == 200
        share, altered = echoed_share(audio, call.rtp.audio())
        assert altered == 0, f"{altered} bytes came back changed"
        assert sequence_gaps(call.rtp) == 0
        longest = longest_echo(audio, call.rtp.audio())
        if share >= 0.95 and longest >= 8000:
            return
        came_back.append(f"{share:.1%}, at most {longest} bytes in one piece")
    pytest.fail(f"never nearly all, with a second in one piece: {came_back}")


async def test_what_comes_back_comes_soon(gateway: Gateway, phone: Phone) -> None:
    """A stall makes the jitter buffer longer for a while, so one of three has to be quick."""
    medians_ms: list[float] = []
    for seed in (1, 2, 3):
        audio = noise(3, seed)
        call = await phone.call("echo", gateway.sip())
        await call.rtp.stream(audio, call.media)
        await asyncio.sleep(0.3)
        await call.bye()
        delays = sorted(delay for _, delay in echoed_frames(audio, call.rtp))
        assert len(delays) >= 100, f"{len(delays)} of 150 frames came back whole"
        medians_ms.append(delays[len(delays) // 2] * 1000)
        if medians_ms[-1] < 100:
            return
    pytest.fail(f"median echo after {', '.join(f'{each:.0f}' for each in medians_ms)} ms")


async def test_a_call_is_listed_while_it_lives_and_gone_after_its_bye(gateway: Gateway, phone: Phone) -> None:
    call = await phone.call("echo", gateway.sip())

    async def listed() -> bool:
        return call.call_id in [summary.sip_call_id for summary in await gateway.calls()]

    await eventually(listed, 3)
    await call.bye()

    async def gone() -> bool:
        return not await listed()

    await eventually(gone, 3)


async def test_keys_pressed_reach_an_old_bot_each_once_whatever_rtp_lost(
    gateway: Gateway, phone: Phone, start_bot: StartBot
) -> None:
    bot = start_bot(gateway, "old")
    call = await phone.call("old", gateway.sip())
    await call.rtp.stream(noise(0.2, seed=3), call.media)
    for number, key in enumerate("156"):
        await press(call, int(key), loses_its_ends=number == 1)

    async def heard_all() -> bool:
        return bot.digits() == "156"

    await eventually(heard_all, 3)
    await call.bye()

    async def has_ended() -> bool:
        return bool(bot.said("call_ended"))

    await eventually(has_ended, 5)
    assert bot.digits() == "156"
    assert [line["end"] for line in bot.said("digit")] == [False, True] * 3


async def press(call, key: int, *, loses_its_ends: bool) -> None:
    """Send an event of 100 ms (RFC 4733): five updates, and three end packets or none, as if lost."""
    rtp = call.rtp
    stamp = rtp.timestamp
    durations = [(160 * (n + 1), False) for n in range(5)]
    if not loses_its_ends:
        durations += [(800, True)] * 3
    for number, (duration, is_end) in enumerate(durations):
        flags = 0x80 if is_end else 0
        rtp.payload_type, rtp.timestamp = 101, stamp
        rtp.send(bytes([key, flags | 10]) + duration.to_bytes(2, "big"), call.media, marker=number == 0)
        rtp.payload_type = 0
        await asyncio.sleep(0.02)
    rtp.timestamp = stamp + 5 * FRAME
    await rtp.stream(noise(0.4, seed=key), call.media)


async def test_a_bot_that_ends_its_stream_with_ok_is_finished_and_the_call_ends(
    gateway: Gateway, phone: Phone, start_bot: StartBot
) -> None:
    start_bot(gateway, "old")
    call = await phone.call("old", gateway.sip())
    await call.rtp.stream(noise(0.2, seed=3), call.media)
    await press(call, 8, loses_its_ends=False)
    await call.wait_ended(5)


async def test_a_bot_that_hangs_up_ends_the_call_with_a_bye(
    gateway: Gateway, phone: Phone, start_bot: StartBot
) -> None:
    start_bot(gateway, "old")
    call = await phone.call("old", gateway.sip())
    await call.rtp.stream(noise(0.2, seed=3), call.media)
    await press(call, 9, loses_its_ends=False)
    await call.wait_ended(5)


async def test_a_call_without_a_bot_is_refused_so_that_carriers_try_the_next(
    gateway: Gateway, phone: Phone
) -> None:
    begins = [relay.log_size() for relay in gateway.relays]
    call = await phone.new_call("absent", gateway.sip())
    assert (await call.invite()).status == 480
    logs = [relay.lines(begin) for relay, begin in zip(gateway.relays, begins, strict=True)]
    assert sum(line["event"] == "bot_failed" for lines in logs for line in lines) == 1


async def test_a_number_that_no_route_takes_is_refused(gateway: Gateway, phone: Phone) -> None:
    call = await phone.new_call("nobody", gateway.sip())
    assert (await call.invite()).status == 404


async def test_hold_is_answered_and_silent_and_resume_is_heard_again(gateway: Gateway, phone: Phone) -> None:
    audio = noise(2, seed=4)
    call = await phone.call("echo", gateway.sip())
    await call.rtp.stream(audio[:8000], call.media)
    held = await call.reinvite("sendonly")
    assert held.status == 200
    assert b"a=recvonly" in held.body
    await asyncio.sleep(0.2)
    before = len(call.rtp.received)
    await asyncio.sleep(0.5)
    assert len(call.rtp.received) - before <= 2, "packets went to a caller who holds"
    resumed = await call.reinvite("sendrecv")
    assert b"a=recvonly" not in resumed.body
    call.rtp.received.clear()
    call.rtp.sent_at = call.rtp.sent_at[:0]
    await call.rtp.stream(audio[8000:], call.media)

    async def is_heard() -> bool:
        return echoed_share(audio[8000:], call.rtp.audio())[0] >= 0.6

    await eventually(is_heard, 3)


async def test_an_operator_hangs_a_call_up(gateway: Gateway, phone: Phone) -> None:
    call = await phone.call("echo", gateway.sip())

    async def listed() -> list[str]:
        return [c.call_id for c in await gateway.calls() if c.sip_call_id == call.call_id]

    await eventually(listed, 3)
    client = gateway.client()
    assert await client.hangup_call((await listed())[0], "test")
    await client.aclose()
    await call.wait_ended(5)
