"""Another codec within a call (RFC 3264 §8.3.2): the bot notices nothing and no word is lost."""

import numpy as np
import pytest

from sipgw.api.config.v1 import config_pb2
from sipgw.api.relay.v1 import control_pb2 as pb
from sipgw.audio import AudioFormat, Codec, decode, recoding_table
from sipgw.audio.wav import read_wav

PCMU, PCMA = AudioFormat(Codec.PCMU, 8000, 20), AudioFormat(Codec.PCMA, 8000, 20)
IN_PCMA = recoding_table(PCMU, PCMA)
SPEECH = np.random.default_rng(1).integers(0, 256, 30_000, dtype=np.uint8)  # more than the near term holds
ALAW_SILENCE = bytes([PCMA.silence])


def change(bench, phone, call_id="call-1", generation=2):
    media = bench.media(phone, codec=config_pb2.AUDIO_CODEC_PCMA, send_payload_type=8, receive_payload_type=8)
    return bench.command(call_id, generation=generation, modify=pb.Modify(media=media))


def in_pcma(payload):
    return IN_PCMA[np.frombuffer(payload, np.uint8)].tobytes()


def talk(bench, phone, frames, payload_type):
    said = []
    for _ in range(frames):
        said.append(phone.say(payload_type=payload_type))
        bench.tick(4)
        phone.collect()
    return said


def in_a_call_of_pcmu(bench):
    """Return a phone in a PCMU call that has received the echo of all its speech so far."""
    phone = bench.phone()
    bench.call(phone)
    talk(bench, phone, 20, payload_type=0)
    bench.tick(20)
    phone.received()
    return phone


def heard(phone):
    """Return the audio, without silence, of packets in the new codec."""
    packets = phone.received()
    assert {packet.payload_type for packet in packets} == {8}
    return [packet.payload for packet in packets if packet.payload != ALAW_SILENCE * 160]


def test_the_call_goes_on_in_the_new_codec(bench):
    phone = in_a_call_of_pcmu(bench)
    assert change(bench, phone).status == pb.COMMAND_STATUS_OK
    said = talk(bench, phone, 20, payload_type=8)
    bench.tick(20)
    assert heard(phone) == said


def test_what_comes_in_the_old_codec_meanwhile_is_heard_too(bench):
    """The caller sends the former codec until it has our answer."""
    phone = in_a_call_of_pcmu(bench)
    change(bench, phone)
    said = [in_pcma(payload) for payload in talk(bench, phone, 3, payload_type=0)]
    said += talk(bench, phone, 5, payload_type=8)
    bench.tick(20)
    assert heard(phone) == said
    assert bench.plane.receiver.unexpected == 0


def test_what_the_bot_has_said_is_played_in_the_new_codec(bot_bench):
    phone = bot_bench.phone()
    session = bot_bench.call(phone, bot="bot:1")
    bot_bench.speech.bot_speech(session.handle, SPEECH.tobytes(), PCMU)
    change(bot_bench, phone)
    assert bot_bench.bots.codecs == {session.handle: Codec.PCMA}
    bot_bench.tick(4 * 200)
    played = b"".join(packet.payload for packet in phone.received())
    assert IN_PCMA[SPEECH].tobytes() in played


def test_the_same_codec_again_changes_nothing_for_the_bot(bot_bench):
    phone = bot_bench.phone()
    bot_bench.call(phone, bot="bot:1")
    bot_bench.command("call-1", generation=2, modify=pb.Modify(media=bot_bench.media(phone, ptime_ms=40)))
    assert bot_bench.bots.codecs == {}


def test_a_recording_goes_on(bench, tmp_path):
    """The change comes in the middle of half a second that has not been written."""
    phone = bench.phone()
    bench.call(phone, recording=tmp_path)
    before = [phone.say(b"\x10" * 160)]  # loud, so that the beginning is found
    bench.tick(4)
    before += talk(bench, phone, 36, payload_type=0)
    change(bench, phone)
    after = talk(bench, phone, 40, payload_type=8)
    bench.tick(20)
    bench.command("call-1", generation=3, release=pb.Release(reason="over"))
    bench.relay.writer.close()
    with (tmp_path / "call-1.wav").open("rb") as file:
        caller, bot = read_wav(file).samples
    said = np.concatenate(
        [
            decode(PCMU, np.frombuffer(b"".join(before), np.uint8)),
            decode(PCMA, np.frombuffer(b"".join(after), np.uint8)),
        ]
    )
    for channel in (caller, bot):
        first = int(np.flatnonzero(np.abs(channel) > 1000)[0])
        there = channel[first : first + len(said)]
        error = (there.astype(np.int32) - said[: len(there)]).astype(np.float64)
        assert len(there) > 70 * 160
        assert np.abs(error).max() <= 1100  # a step of A-law, where µ-law was recoded
        assert np.sqrt((error**2).mean()) < 0.03 * np.sqrt((said.astype(np.float64) ** 2).mean())


@pytest.mark.parametrize("before", [PCMU, PCMA])
def test_silence_stays_silence(before):
    after = PCMA if before is PCMU else PCMU
    assert recoding_table(before, after)[before.silence] == after.silence
