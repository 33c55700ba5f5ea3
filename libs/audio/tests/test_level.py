import numpy as np
import pytest

from sipgw.audio.goertzel import tone_amplitudes
from sipgw.audio.level import SILENCE_DBOV, dbov, rms


def test_levels_of_known_signals_row_by_row():
    sine = np.rint(32767 * np.sin(2 * np.pi * np.arange(800) / 8)).astype(np.int16)
    block = np.stack([np.full(800, -32768, np.int16), sine, np.zeros(800, np.int16)])
    assert rms(block).tolist() == pytest.approx([32768, 32767 / 2**0.5, 0], abs=1)
    assert dbov(block).tolist() == pytest.approx([0, -3.01, SILENCE_DBOV], abs=0.01)


def test_no_samples_are_silence():
    assert rms(np.zeros((3, 0), np.int16)).tolist() == [0, 0, 0]
    assert dbov(np.zeros(0, np.int16)) == SILENCE_DBOV


def test_the_two_tones_of_a_key_stand_out():
    keys = [697, 770, 852, 941, 1209, 1336, 1477, 1633]
    at = np.arange(400)
    five = 6000 * np.sin(2 * np.pi * 770 * at / 8000) + 8000 * np.sin(2 * np.pi * 1336 * at / 8000)
    block = np.stack([five, np.zeros(400)]).astype(np.int16)
    amplitudes = tone_amplitudes(block, 8000, keys)
    assert amplitudes.shape == (2, 8)
    assert amplitudes[0, [1, 5]].tolist() == pytest.approx([6000, 8000], rel=0.05)
    assert np.delete(amplitudes[0], [1, 5]).max() < 2000
    assert amplitudes[1].tolist() == [0] * 8


def test_each_amplitude_is_goertzels():
    pcm = np.random.default_rng(2).integers(-9000, 9000, 205).astype(np.int16)
    coefficient = 2 * np.cos(2 * np.pi * 941 / 8000)
    older = old = 0.0
    for sample in pcm.tolist():
        older, old = old, sample + coefficient * old - older
    power = old**2 + older**2 - coefficient * old * older
    assert tone_amplitudes(pcm, 8000, [941])[0] == pytest.approx(power**0.5 * 2 / 205)
