"""A bot at its own rate: audio in both directions is converted, and is the same sound."""

from itertools import pairwise

import numpy as np
import pytest

from sipgw.audio import AudioFormat, Codec, decode, encode
from sipgw.bot.converter import SpeechConverter, as_samples

PCMU = AudioFormat(Codec.PCMU, 8000, 20)


def tone(rate_hz: int, ms: int) -> np.ndarray:
    return (8000 * np.sin(2 * np.pi * 440 * np.arange(rate_hz * ms // 1000) / rate_hz)).astype(np.int16)


def loudest_hz(pcm: np.ndarray, rate_hz: int) -> float:
    return float(np.argmax(np.abs(np.fft.rfft(pcm))) * rate_hz / len(pcm))


@pytest.mark.parametrize("rate_hz", [16000, 24000, 48000])
def test_a_tone_is_heard_and_said_at_its_pitch(rate_hz: int):
    converter = SpeechConverter(PCMU, rate_hz)
    frames = encode(PCMU, tone(8000, 500)).reshape(-1, 160)
    heard = np.concatenate([converter.heard(frame.tobytes()) for frame in frames])
    assert len(heard) == rate_hz // 2
    assert loudest_hz(heard, rate_hz) == pytest.approx(440, abs=3)
    said = converter.said(tone(rate_hz, 500)) + converter.rest()
    assert len(said) == 4000
    assert loudest_hz(decode(PCMU, np.frombuffer(said, np.uint8)), 8000) == pytest.approx(440, abs=3)


def test_pieces_of_any_length_come_out_as_one_speech():
    whole, pieces = SpeechConverter(PCMU, 24000), SpeechConverter(PCMU, 24000)
    speech = tone(24000, 100)
    at_once = whole.said(speech)
    cut = [0, 1, 100, 101, 777, 2400]
    assert b"".join(pieces.said(speech[a:b]) for a, b in pairwise(cut)) == at_once


def test_a_clip_of_another_rate_is_said_at_its_length():
    converter = SpeechConverter(PCMU, 8000)
    assert len(converter.said(tone(44100, 1000), 44100)) == 8000


@pytest.mark.parametrize("wrong", [np.zeros(10, np.float32), [1, 2, 3], None])
def test_what_is_no_int16_is_refused_with_the_reason(wrong: object):
    with pytest.raises(TypeError, match="int16"):
        as_samples(wrong)
