"""Wire format ↔ bot format: equal formats untouched, others the same sound, rows kept apart."""

import asyncio

import numpy as np
import pytest

from sipgw.audio import AudioFormat, Codec, decode, encode
from sipgw.bot import Call
from sipgw.media_relay.bots.conversion import FormatConversion
from sipgw.media_relay.streams.bot_call import BotProtocol

PCMU, PCMA = AudioFormat(Codec.PCMU, 8000, 20), AudioFormat(Codec.PCMA, 8000, 20)
PCM_8K, PCM_16K = AudioFormat(Codec.PCM16, 8000, 20), AudioFormat(Codec.PCM16, 16000, 20)


def tone(hz: float, rate_hz: int, ms: int) -> np.ndarray:
    return (8000 * np.sin(2 * np.pi * hz * np.arange(rate_hz * ms // 1000) / rate_hz)).astype(np.int16)


def loudest_hz(pcm: np.ndarray, rate_hz: int) -> float:
    return float(np.argmax(np.abs(np.fft.rfft(pcm))) * rate_hz / len(pcm))


def test_equal_formats_pass_every_byte_including_negative_zero():
    conversion = FormatConversion(PCMU, PCMU, 4)
    frames = np.arange(320, dtype=np.uint8).reshape(2, 160)
    rows = np.array([0, 1])
    assert conversion.to_bot(rows, frames) is frames
    assert conversion.to_wire(rows, frames) is frames
    assert conversion.speech_to_wire(0, b"\x7f") == b"\x7f"


def test_each_row_has_its_own_history():
    conversion = FormatConversion(PCMU, PCM_16K, 8)
    pitches = {2: 300.0, 5: 700.0, 7: 1500.0}
    rows = np.array(list(pitches))
    speech = np.stack([encode(PCMU, tone(hz, 8000, 500)).reshape(-1, 160) for hz in pitches.values()])
    frames = range(speech.shape[1])
    heard = [decode(PCM_16K, conversion.to_bot(rows, speech[:, at])) for at in frames]
    for index, hz in enumerate(pitches.values()):
        assert loudest_hz(np.concatenate([frame[index] for frame in heard]), 16000) == pytest.approx(
            hz, abs=3
        )


def test_speech_in_odd_pieces_equals_speech_at_once():
    data = encode(PCM_16K, tone(440, 16000, 200)).tobytes()
    at_once = FormatConversion(PCMA, PCM_16K, 2).speech_to_wire(1, data)
    conversion = FormatConversion(PCMA, PCM_16K, 2)
    pieces = [data[at : at + 777] for at in range(0, len(data), 777)]
    assert b"".join(bytes(conversion.speech_to_wire(1, piece)) for piece in pieces) == at_once
    assert len(at_once) == 1600


@pytest.mark.parametrize("protocol", [BotProtocol.TRUNK, BotProtocol.STREAM_CALL])
async def test_callers_of_two_codecs_reach_a_bot_of_its_own_rate(relay, protocol, sdk_bots):
    """PCMU and PCMA callers, a bot at linear 16 kHz: each hears its own tone back in its own codec."""

    async def echo(call: Call) -> None:
        async for frame in call.audio():
            assert len(frame) == 320
            await call.play(frame)

    address = await sdk_bots(echo)
    callers = {1: (PCMU, 400.0), 2: (PCMA, 1000.0)}
    for handle, (wire, _) in callers.items():
        relay.open(handle, address, wire_format=wire, bot_format=PCM_16K, protocol=protocol)
    for handle, (wire, hz) in callers.items():
        await relay.sessions.told_of("ready", handle)
        for frame in encode(wire, tone(hz, 8000, 400)).reshape(-1, 160):
            relay.speak({handle: frame.tobytes()}, wire)
            await asyncio.sleep(0.001)
        heard = await relay.sessions.heard(handle, 3000)
        assert loudest_hz(decode(wire, np.frombuffer(heard[:3000], np.uint8)), 8000) == pytest.approx(
            hz, abs=6
        )


async def test_credit_is_counted_in_the_bots_bytes(relay, sdk_bots):
    """64 KiB of the wire are 262,144 bytes for a bot at linear 16 kHz; more passes as it is played."""
    burst = tone(440, 16000, 20_000)

    async def bot(call: Call) -> None:
        await call.play(burst)
        await call.hangup()

    relay.sessions.plays = False
    relay.open(1, await sdk_bots(bot), bot_format=PCM_16K)
    consumed = 0
    while consumed < 160_000:
        heard = len(await relay.sessions.heard(1, min(160_000, consumed + 8000)))
        assert heard - consumed <= 65536
        consumed = heard
        relay.sessions.consume(1, consumed)
    await relay.sessions.told_of("hangup", 1)
    assert len(relay.sessions.said[1]) == 160_000


async def test_frame_lengths_that_the_relay_does_not_send_are_refused(relay):
    relay.open(1, "127.0.0.1:1", bot_format=AudioFormat(Codec.PCMU, 8000, 40))
    assert "40 ms" in (await relay.sessions.told_of("failed", 1))[2]


async def test_a_caller_that_changes_its_codec_is_heard_on_in_the_bots_format(relay, sdk_bots):
    """Bot and caller both hear on in their formats: only the bridge knows of the change."""

    async def echo(call: Call) -> None:
        async for frame in call.audio():
            await call.play(frame)

    relay.open(1, await sdk_bots(echo), bot_format=PCM_8K)
    await relay.sessions.told_of("ready", 1)
    loud = tone(440, 8000, 20)
    for wire in (PCMU, PCMA, PCMU):
        relay.bridge.change_codec(1, wire.codec)
        before = len(relay.sessions.said[1])
        frame = encode(wire, loud).tobytes()
        relay.speak({1: frame}, wire)
        assert (await relay.sessions.heard(1, before + 160))[before:] == frame


def test_half_a_sample_that_waits_is_not_lost_at_a_change():
    data = encode(PCM_16K, tone(440, 16000, 20)).tobytes()
    before, after = FormatConversion(PCMU, PCM_16K, 2), FormatConversion(PCMA, PCM_16K, 2)
    first = before.speech_to_wire(1, data[:321])
    after.go_on_from(before, 1)
    assert len(first) + len(after.speech_to_wire(1, data[321:])) == 160
