import time

import numpy as np

from sipgw.siptest.speech import speech_like


def test_the_same_seed_gives_the_same_speech() -> None:
    assert np.array_equal(speech_like(1.0, seed=4), speech_like(1.0, seed=4))
    assert not np.array_equal(speech_like(1.0, seed=4), speech_like(1.0, seed=5))


def test_it_has_the_length_asked_for_and_never_clips() -> None:
    speech = speech_like(2.5, rate_hz=16000)
    assert len(speech) == 40000
    assert np.abs(speech.astype(np.int32)).max() < 25000


def test_it_has_syllables_and_pauses() -> None:
    frames = speech_like(6.0).reshape(-1, 160).astype(float)
    loud = np.sqrt((frames**2).mean(axis=1)) > 500
    assert 0.4 < loud.mean() < 0.9
    assert np.count_nonzero(np.diff(loud.astype(int)) == 1) >= 10


def test_its_energy_is_in_the_telephone_band() -> None:
    spectrum = np.abs(np.fft.rfft(speech_like(4.0).astype(float))) ** 2
    frequency = np.fft.rfftfreq(32000, 1 / 8000)
    assert spectrum[(frequency > 80) & (frequency < 3500)].sum() > 0.97 * spectrum.sum()


def test_its_cost_grows_with_its_length_and_not_with_the_square() -> None:
    """By CPU time; ten times the length would cost a hundred times as much by the square."""

    def cpu_s(duration_s: float) -> float:
        began = time.process_time()
        speech_like(duration_s)
        return time.process_time() - began

    assert cpu_s(30.0) < 25 * min(cpu_s(3.0) for _ in range(3))


def test_too_short_for_a_syllable_is_silence() -> None:
    assert not speech_like(0.1).any()
