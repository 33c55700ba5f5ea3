import numpy as np
import pytest

from sipgw.audio.level import SILENCE_DBOV, dbov, rms


def test_levels_of_known_signals_row_by_row():
    sine = np.rint(32767 * np.sin(2 * np.pi * np.arange(800) / 8)).astype(np.int16)
    block = np.stack([np.full(800, -32768, np.int16), sine, np.zeros(800, np.int16)])
    assert rms(block).tolist() == pytest.approx([32768, 32767 / 2**0.5, 0], abs=1)
    assert dbov(block).tolist() == pytest.approx([0, -3.01, SILENCE_DBOV], abs=0.01)


def test_no_samples_are_silence():
    assert rms(np.zeros((3, 0), np.int16)).tolist() == [0, 0, 0]
    assert dbov(np.zeros(0, np.int16)) == SILENCE_DBOV
