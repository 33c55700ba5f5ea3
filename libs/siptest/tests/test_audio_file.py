import wave
from pathlib import Path

import numpy as np
import pytest

from sipgw.audio.errors import WavError
from sipgw.siptest import find_signal, speech_like
from sipgw.siptest.audio_file import read_speech


def write(path: Path, samples: np.ndarray, rate_hz: int, channels: int = 1) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(samples.astype("<i2").tobytes())
    return path


def test_a_telephone_file_is_taken_as_it_is(tmp_path: Path) -> None:
    speech = speech_like(1.0)
    assert np.array_equal(read_speech(write(tmp_path / "a.wav", speech, 8000)), speech)


@pytest.mark.parametrize("rate_hz", [16000, 44100, 48000])
def test_other_rates_are_brought_to_8_khz(tmp_path: Path, rate_hz: int) -> None:
    path = write(tmp_path / "a.wav", speech_like(1.0, rate_hz=rate_hz), rate_hz)
    heard = read_speech(path)
    assert abs(len(heard) - 8000) <= 1
    # The noise of the consonants is drawn per sample and differs between rates; the vowels are the same.
    match = find_signal(heard, speech_like(1.0)[1000:3000], threshold=0.8)
    assert match is not None
    assert abs(match.offset - 1000) <= 2


def test_stereo_is_mixed(tmp_path: Path) -> None:
    both = np.stack([np.full(80, 1000), np.full(80, 3000)], axis=1)
    assert read_speech(write(tmp_path / "a.wav", both, 8000, channels=2)).tolist() == [2000] * 80


def test_what_is_no_wav_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"hello")
    with pytest.raises(WavError, match="not a WAV file"):
        read_speech(tmp_path / "a.wav")
