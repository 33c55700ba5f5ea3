"""Speech whose words are known: espeak-ng says them one by one, so each word's place is exact."""

import io
import subprocess
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import soxr

from sipgw.audio.g711 import mulaw_decode, mulaw_encode

RATE_HZ: Final = 8000
SENTENCES: Final = (
    "good morning my name is Miller and I call about an invoice",
    "the number is seven four zero nine two eight",
    "could you please tell me whether the payment has arrived",
    "I would like to change my address before the end of the month",
    "thank you very much that is all I wanted to know today",
)
_LEAD_S: Final = 0.3
_BETWEEN_WORDS_S: Final = 0.03
_BETWEEN_SENTENCES_S: Final = 0.5
_AUDIBLE: Final = 200
"""A sample of speech, not of its fading end."""
_PEAK: Final = 12_000


@dataclass(frozen=True, slots=True)
class Speech:
    """µ-law bytes, and the samples at which each word begins and ends."""

    payload: npt.NDArray[np.uint8]
    words: tuple[tuple[int, int], ...]

    @property
    def pcm(self) -> npt.NDArray[np.int16]:
        """The samples."""
        return mulaw_decode(self.payload)


def say(sentences: tuple[str, ...] = SENTENCES) -> Speech:
    """Return the sentences with pauses between. Raises SystemExit where espeak-ng is not installed."""
    pieces = [_silence(_LEAD_S)]
    words: list[tuple[int, int]] = []
    length = len(pieces[0])
    for sentence in sentences:
        for word in _words(sentence):
            words.append((length, length + len(word)))
            pieces += [word, _silence(_BETWEEN_WORDS_S)]
            length += len(word) + len(pieces[-1])
        pieces.append(_silence(_BETWEEN_SENTENCES_S))
        length += len(pieces[-1])
    pcm = np.concatenate(pieces)
    noise = np.random.default_rng(1).normal(0, 12, len(pcm))  # a quiet line, so that no frame is like another
    return Speech(mulaw_encode((pcm + noise).astype(np.int16)), tuple(words))


def _words(sentence: str) -> Iterator[npt.NDArray[np.int16]]:
    for word in sentence.split():
        try:
            said = subprocess.run(
                ["espeak-ng", "-v", "en-us", "-s", "150", "--stdout", word], capture_output=True, check=True
            ).stdout
        except FileNotFoundError:
            raise SystemExit("espeak-ng is not installed; on Debian: apt-get install espeak-ng") from None
        with wave.open(io.BytesIO(said)) as file:
            pcm = np.frombuffer(file.readframes(file.getnframes()), "<i2")
            rate = file.getframerate()
        pcm = soxr.resample(pcm.astype(np.float64), rate, RATE_HZ)
        audible = np.flatnonzero(np.abs(pcm) > _AUDIBLE)
        pcm = pcm[audible[0] : audible[-1] + 1]
        yield (pcm * (_PEAK / np.abs(pcm).max())).astype(np.int16)


def _silence(seconds: float) -> npt.NDArray[np.int16]:
    return np.zeros(int(seconds * RATE_HZ), np.int16)
