"""A bot with its own copy of the old contract (sync grpcio, threads) serves calls unchanged."""

import asyncio
from pathlib import Path

import pytest
from gatewaykit.bots import StartBot
from gatewaykit.gateway import Gateway, eventually
from gatewaykit.phone import Phone
from gatewaykit.rtp import echoed_share, noise

pytestmark = pytest.mark.system


async def test_it_gets_what_the_old_contract_says_and_nothing_that_it_does_not_know(
    gateway: Gateway, phone: Phone, start_bot: StartBot
) -> None:
    bot = start_bot(gateway, "old")
    audio = noise(2, seed=5)
    call = await phone.call("old", gateway.sip())
    await call.rtp.stream(audio, call.media)
    await call.bye()

    async def has_ended() -> bool:
        return bool(bot.said("call_ended"))

    await eventually(has_ended, 5)
    (started,) = bot.said("call_started")
    (ended,) = bot.said("call_ended")
    assert (started["rate"], started["codec"]) == (8000, "PCMU")
    assert ended["reason"] == "hangup", "the last event of a call is HANGUP"
    assert ended["unknown_events"] == 0, "events came that an old bot reads as nothing"
    assert ended["seq_jumps"] == 0, "seq counts frame periods without a jump"
    assert 95 <= ended["frames"] <= 160, f"{ended['frames']} frames for about 2 s"


async def test_it_hears_the_caller_and_the_caller_hears_it(
    gateway: Gateway, phone: Phone, start_bot: StartBot, tmp_path: Path
) -> None:
    from_caller, from_bot = noise(2, seed=6), noise(2, seed=7)
    speech = tmp_path / "speech.ulaw"
    speech.write_bytes(from_bot)
    bot = start_bot(gateway, "talk", "talk", "--speech", str(speech), "--hear", str(tmp_path))
    call = await phone.call("talk", gateway.sip())
    await call.rtp.stream(from_caller, call.media)
    assert await call.rtp.hears(from_bot, 0.7)
    await call.bye()

    async def has_ended() -> bool:
        return bool(bot.said("call_ended"))

    await eventually(has_ended, 5)
    (heard,) = [file for file in tmp_path.iterdir() if file.suffix == ".ulaw" and file != speech]  # noqa: ASYNC240
    assert echoed_share(from_caller, heard.read_bytes())[0] >= 0.7
    assert from_bot[:800] in call.rtp.audio(), "the bot's first words count too"


async def test_ten_calls_at_once_on_its_ten_threads_all_hear_their_own_echo(
    gateway: Gateway, phone: Phone, start_bot: StartBot
) -> None:
    start_bot(gateway, "old")
    sounds = [noise(2, seed=100 + number) for number in range(10)]
    calls = [await phone.call("old", gateway.sip()) for _ in sounds]
    await asyncio.gather(
        *(call.rtp.stream(sound, call.media) for call, sound in zip(calls, sounds, strict=True))
    )
    for call, sound in zip(calls, sounds, strict=True):
        assert await call.rtp.hears(sound, 0.7)
