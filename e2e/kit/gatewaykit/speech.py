"""Speech for the tests, and a score of what came back: aligned by correlation, judged piece by piece."""

import wave
from pathlib import Path

import numpy as np

from sipgw.audio.g711 import mulaw_encode

RATE_HZ = 8000
_FOUND = 0.85  # no piece of other speech comes so near


def make_speech(path: Path, seed: int, seconds: float = 3.0) -> np.ndarray:
    """Write syllables of noise and tone into a WAV of 8 kHz mono: like speech, and free of rights."""
    random = np.random.default_rng(seed)
    samples = int(seconds * RATE_HZ)
    noise = np.convolve(random.normal(size=samples), np.hanning(9), mode="same")
    tone = np.sin(2 * np.pi * np.cumsum(random.normal(250, 60, samples)) / RATE_HZ)
    syllables = np.repeat(random.uniform(0.05, 1.0, samples // 800 + 1), 800)[:samples]
    pcm = (syllables * (0.5 * noise / np.abs(noise).max() + 0.5 * tone) * 12_000).astype(np.int16)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(pcm.tobytes())
    return pcm


def read_wav(path: Path) -> np.ndarray:
    """Read the samples of an 8 or 16 kHz mono WAV, at 8 kHz."""
    with wave.open(str(path)) as file:
        pcm = np.frombuffer(file.readframes(file.getnframes()), np.int16)
        step = file.getframerate() // RATE_HZ
    if step > 1:
        pcm = np.convolve(pcm, np.hanning(2 * step + 1) / step, mode="same")[::step].astype(np.int16)
    return pcm


def to_mulaw(pcm: np.ndarray) -> bytes:
    return mulaw_encode(pcm).tobytes()


def likeness(said: np.ndarray, heard: np.ndarray) -> tuple[float, float]:
    """Return (correlation of `said` with its best place in `heard`, that place in seconds); 1.0 is equal."""
    if len(heard) < len(said):
        heard = np.pad(heard, (0, len(said) - len(heard)))
    a, b = said.astype(float), heard.astype(float)
    size = 1 << (len(a) + len(b)).bit_length()
    spectrum = np.fft.rfft(b, size) * np.conj(np.fft.rfft(a, size))
    products = np.fft.irfft(spectrum, size)[: len(b) - len(a) + 1]
    energy = np.cumsum(np.concatenate([[0.0], b * b]))
    energies = energy[len(a) :] - energy[: len(b) - len(a) + 1]
    scores = products / np.sqrt(np.maximum(energies, 1.0) * np.dot(a, a))
    place = int(np.argmax(scores))
    return float(scores[place]), place / RATE_HZ


def share_heard(said: np.ndarray, heard: np.ndarray) -> float:
    """Return the share of the quarter seconds of `said` that are found in `heard`.

    Piece by piece, since a telephone's own jitter buffer stretches and shrinks time when the machine is busy.
    """
    step = RATE_HZ // 4
    pieces = [said[begin : begin + step] for begin in range(0, len(said) - step + 1, step)]
    return sum(likeness(piece, heard)[0] > _FOUND for piece in pieces) / len(pieces)
