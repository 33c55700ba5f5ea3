"""Calls by PJSIP."""

from pathlib import Path

import pytest
from gatewaykit.bots import StartBot
from gatewaykit.foreign import needs_pjsip
from gatewaykit.gateway import Gateway, eventually
from gatewaykit.pjsip import PjsipClient
from gatewaykit.speech import make_speech, read_wav, share_heard, to_mulaw

pytestmark = [pytest.mark.system, pytest.mark.pjsip, needs_pjsip]


def uri(gateway: Gateway, user: str, edge: int = 0) -> str:
    host, port = gateway.sip(edge)
    return f"sip:{user}@{host}:{port}"


@pytest.mark.parametrize("codec", ["PCMU", "PCMA"])
async def test_speech_comes_back_from_the_echo_bot(gateway: Gateway, tmp_path: Path, codec: str) -> None:
    said = make_speech(tmp_path / "said.wav", seed=1)
    heard = tmp_path / "heard.wav"
    async with PjsipClient(codec) as client:
        client.do("call", uri=uri(gateway, "echo"), play=str(tmp_path / "said.wav"), record=str(heard))
        await client.expect("state", state="CONFIRMED")
        await client.expect("media", status="active", codec=codec)
        await client.expect("played")
        client.do("stop_recording")
        await client.expect("recorded")
        client.do("hangup")
        await client.expect("state", state="DISCONNECTED", status=200)
    share = share_heard(said, read_wav(heard))
    assert share > 0.6, f"{share:.0%} of what was said came back"


async def test_speech_goes_both_ways_to_a_bot_with_its_own_voice(
    gateway: Gateway, start_bot: StartBot, tmp_path: Path
) -> None:
    said, answered = make_speech(tmp_path / "said.wav", seed=2), make_speech(tmp_path / "answer.wav", seed=3)
    (tmp_path / "answer").write_bytes(to_mulaw(answered))
    hear = tmp_path / "bot"
    hear.mkdir()
    bot = start_bot(gateway, "talk", "talk", "--speech", str(tmp_path / "answer"), "--hear", str(hear))
    heard = tmp_path / "heard.wav"
    async with PjsipClient() as client:
        client.do("call", uri=uri(gateway, "talk"), play=str(tmp_path / "said.wav"), record=str(heard))
        await client.expect("state", state="CONFIRMED")
        await client.expect("played")
        client.do("stop_recording")
        await client.expect("recorded")
        client.do("hangup")
        await client.expect("state", state="DISCONNECTED")

    async def has_ended() -> bool:
        return bool(bot.said("call_ended"))

    await eventually(has_ended, 5)
    (file,) = hear.iterdir()
    at_bot = _mulaw_file(file)
    assert share_heard(said, at_bot) > 0.6, "the bot does not hear the caller"
    assert share_heard(answered, read_wav(heard)) > 0.6, "the caller does not hear the bot"


def _mulaw_file(path: Path):
    import numpy as np

    from sipgw.audio.g711 import mulaw_decode

    return mulaw_decode(np.frombuffer(path.read_bytes(), np.uint8))


async def test_keys_reach_the_bot(gateway: Gateway, start_bot: StartBot, tmp_path: Path) -> None:
    bot = start_bot(gateway, "old")
    async with PjsipClient() as client:
        client.do("call", uri=uri(gateway, "old"))
        await client.expect("state", state="CONFIRMED")
        client.do("dtmf", digits="156#")

        async def heard_all() -> bool:
            return bot.digits() == "156#"

        await eventually(heard_all, 5)
        client.do("hangup")
        await client.expect("state", state="DISCONNECTED")


async def test_hold_and_resume(gateway: Gateway, tmp_path: Path) -> None:
    said = make_speech(tmp_path / "said.wav", seed=4)
    heard = tmp_path / "heard.wav"
    async with PjsipClient() as client:
        client.do("call", uri=uri(gateway, "echo"))
        await client.expect("state", state="CONFIRMED")
        await client.expect("media", status="active")
        client.do("hold")
        await client.expect("media", status="local_hold")
        seen = len(client.events)
        client.do("resume")
        await client.expect("media", status="active", after=seen)
        client.do("record", file=str(heard))
        client.do("play", file=str(tmp_path / "said.wav"))
        await client.expect("played")
        client.do("stop_recording")
        await client.expect("recorded")
        client.do("hangup")
        await client.expect("state", state="DISCONNECTED")
    assert share_heard(said, read_wav(heard)) > 0.6, "nothing is heard after the resume"


async def test_the_bot_hangs_up(gateway: Gateway, start_bot: StartBot) -> None:
    start_bot(gateway, "old")
    async with PjsipClient() as client:
        client.do("call", uri=uri(gateway, "old"))
        await client.expect("state", state="CONFIRMED")
        client.do("dtmf", digits="9")
        await client.expect("state", state="DISCONNECTED")


async def test_the_caller_gives_up_while_it_rings(gateway: Gateway) -> None:
    async with PjsipClient() as client:
        client.do("call", uri=uri(gateway, "ringing"))
        await client.expect("state", state="EARLY")
        client.do("hangup")
        await client.expect("state", state="DISCONNECTED", status=487)


async def test_a_call_survives_the_death_of_its_relay_and_the_drain_of_the_next(
    own_gateway: Gateway, tmp_path: Path
) -> None:
    said = make_speech(tmp_path / "said.wav", seed=5)
    gateway = own_gateway

    async def is_on(name: str) -> bool:
        return [call.relay.name for call in await gateway.calls()] == [name]

    async with PjsipClient() as client:
        client.do("call", uri=uri(gateway, "echo"))
        await client.expect("state", state="CONFIRMED")
        await client.expect("media", status="active")
        for number, relay in enumerate(("relay-1", "relay-0")):
            if relay == "relay-1":
                gateway.relays[0].kill()
                await eventually(lambda: is_on("relay-1"), 10)
                gateway.start_relay(0)
            else:
                registry = gateway.client()
                await registry.drain_relay("relay-1")
                await registry.aclose()
                await eventually(lambda: is_on("relay-0"), 15)
            heard = tmp_path / f"heard-{number}.wav"
            seen = len(client.events)
            client.do("record", file=str(heard))
            client.do("play", file=str(tmp_path / "said.wav"))
            await client.expect("played", after=seen)
            client.do("stop_recording")
            await client.expect("recorded", after=seen)
        client.do("hangup")
        await client.expect("state", state="DISCONNECTED", status=200)
    for number in range(2):
        assert share_heard(said, read_wav(tmp_path / f"heard-{number}.wav")) > 0.6, (
            "nothing is heard after it"
        )
