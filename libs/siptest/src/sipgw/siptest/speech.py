"""Speech-like audio made at run time: vowels as harmonics under moving formants, consonants as bursts.

It has no words, but all that a gateway must carry: syllables, pauses, pitch, a telephone band. The same seed
gives the same samples on every machine.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sipgw.audio import SamplesI16

Signal = NDArray[np.float64]  # one channel, full scale is 1.0

# First three formants in Hz (Peterson and Barney 1952, male voices, rounded).
_VOWELS = (
    (730, 1090, 2440),
    (530, 1840, 2480),
    (300, 2250, 3000),
    (570, 840, 2410),
    (320, 880, 2250),
    (640, 1190, 2390),
)
_BANDWIDTHS_HZ = np.array([90.0, 110.0, 160.0])
_GAINS = np.array([1.0, 0.55, 0.28])
_HIGHEST_HZ = 3400.0


@dataclass(frozen=True, slots=True)
class _Syllable:
    start_s: float
    length_s: float
    vowel: int
    pitch_hz: float
    has_burst: bool
    loudness: float


def speech_like(
    duration_s: float, *, rate_hz: int = 8000, seed: int = 1, pitch_hz: float = 118.0
) -> SamplesI16:
    """Return `duration_s` of speech-like audio at about -16 dBFS, ending in silence."""
    random = np.random.default_rng(seed)
    count = round(duration_s * rate_hz)
    time_s = np.arange(count) / rate_hz
    syllables = _syllables(duration_s, random, pitch_hz)
    voiced = _voiced(time_s, syllables, rate_hz)
    noise = _bursts(time_s, syllables, random)
    mixed = voiced + noise
    peak = float(np.max(np.abs(mixed), initial=0.0))
    if peak == 0.0:
        return np.zeros(count, dtype=np.int16)
    return np.round(mixed * (0.6 * 32767 / peak)).astype(np.int16)


def _syllables(duration_s: float, random: np.random.Generator, pitch_hz: float) -> list[_Syllable]:
    """Draw phrases of four to seven syllables; pitch falls over a phrase and the last syllable is long."""
    syllables: list[_Syllable] = []
    at_s = 0.08
    while True:
        in_phrase = int(random.integers(4, 8))
        for index in range(in_phrase):
            is_last = index == in_phrase - 1
            length_s = float(random.uniform(0.13, 0.2)) * (1.5 if is_last else 1.0)
            if at_s + length_s > duration_s - 0.05:
                return syllables
            fall = 1.22 - 0.34 * index / max(1, in_phrase - 1)
            syllables.append(
                _Syllable(
                    start_s=at_s,
                    length_s=length_s,
                    vowel=int(random.integers(len(_VOWELS))),
                    pitch_hz=pitch_hz * fall * float(random.uniform(0.95, 1.08)),
                    has_burst=bool(random.random() < 0.6),
                    loudness=float(random.uniform(0.7, 1.0)),
                )
            )
            at_s += length_s + float(random.uniform(0.02, 0.05))
        at_s += float(random.uniform(0.22, 0.38))


def _voiced(time_s: Signal, syllables: list[_Syllable], rate_hz: int) -> Signal:
    if not syllables:
        return np.zeros_like(time_s)
    centres = np.array([s.start_s + s.length_s / 2 for s in syllables])
    pitch = np.interp(time_s, centres, [s.pitch_hz for s in syllables])
    pitch *= 1.0 + 0.012 * np.sin(2 * np.pi * 5.2 * time_s)
    phase = 2 * np.pi * np.cumsum(pitch) / rate_hz
    formants = np.stack(
        [np.interp(time_s, centres, [_VOWELS[s.vowel][i] for s in syllables]) for i in range(len(_GAINS))]
    )
    loudness = np.zeros_like(time_s)
    for syllable in syllables:
        _add_envelope(loudness, time_s, syllable.start_s, syllable.length_s, syllable.loudness)
    out = np.zeros_like(time_s)
    for harmonic in range(1, int(_HIGHEST_HZ / float(np.min(pitch))) + 1):
        frequency = pitch * harmonic
        distance = (frequency[np.newaxis, :] - formants) / _BANDWIDTHS_HZ[:, np.newaxis]
        amplitude = np.sum(_GAINS[:, np.newaxis] / (1.0 + distance**2), axis=0) / (1.0 + frequency / 900.0)
        amplitude[frequency > _HIGHEST_HZ] = 0.0
        out += amplitude * np.sin(harmonic * phase)
    return out * loudness


def _bursts(time_s: Signal, syllables: list[_Syllable], random: np.random.Generator) -> Signal:
    """Return noise of 40 ms at the head of some syllables, high-passed by a first difference."""
    noise = np.diff(random.standard_normal(len(time_s) + 1))
    shape = np.zeros_like(time_s)
    for syllable in syllables:
        if syllable.has_burst:
            _add_envelope(shape, time_s, syllable.start_s - 0.02, 0.05, 0.06 * syllable.loudness)
    return noise * shape


def _add_envelope(to: Signal, time_s: Signal, start_s: float, length_s: float, gain: float) -> None:
    """Add a raised-cosine rise of 30 ms and a fall of half the length, to these samples alone."""
    first, last = np.searchsorted(time_s, (start_s, start_s + length_s))
    since = time_s[first:last] - start_s
    rise = np.clip(since / min(0.03, length_s / 2), 0.0, 1.0)
    fall = np.clip((length_s - since) / (length_s / 2), 0.0, 1.0)
    to[first:last] += gain * np.sin(np.pi / 2 * rise) ** 2 * np.sin(np.pi / 2 * fall) ** 2
