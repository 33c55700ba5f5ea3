"""Score the speech that the bot heard: samples that arrived, their delay, and their sound (PESQ)."""

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import numpy as np

from impaired.line import WIRE, Frame
from impaired.speech import RATE_HZ, Speech
from sipgw.audio import decode

_KEY: Final = 16
"""Bytes by which a piece of audio is recognised: 2 ms."""
_FADE: Final = 80
"""Bytes before a piece that count as heard with it: after a hole audio is faded in."""
_WORD_LOST: Final = 0.25
_FROM_S: Final = 1.0
"""Audio lost before this time, while a buffer learns, is counted apart."""
_SETTLED_S: Final = 4.0


@dataclass(frozen=True, slots=True)
class Score:
    """One line of the table. Delays are relative to a good network's."""

    delay_ms: float
    """Median, over the last seconds."""
    most_delay_ms: float
    concealed: int
    """Frames that the bot got with the flag CONCEALED, in the course of the speech."""
    lost_share: float
    """The share of the samples of words that was lost after the first second."""
    words_lost: int
    """Words of which more than a quarter was not heard."""
    pesq: float | None
    """MOS-LQO, ITU-T P.862.1; 4.55 for the same audio."""


class Listener:
    """Recognises pieces of a known speech."""

    def __init__(self, speech: Speech) -> None:
        self._speech = speech
        self._pesq = _pesq()
        said = speech.payload.tobytes()
        self._place: dict[bytes, int] = {}
        for at in range(len(said) - _KEY):
            key = said[at : at + _KEY]
            self._place[key] = -1 if key in self._place else at
        self._base_ms = 0.0
        self._known = np.ones(len(said), np.bool_)

    def take_as_good(self, frames: Sequence[Frame]) -> None:
        """Take these frames as a good network's: their delay is zero, all recognisable pieces are there."""
        delays, self._known = self._delays(frames)
        self._base_ms = float(np.median([late for _, late in delays]))

    def judge(self, frames: Sequence[Frame]) -> Score:
        """Compare the audio that a bot got with the caller's."""
        delays, heard = self._delays(frames)
        end = len(self._speech.payload)
        settled = [late for at, late in delays if at > end - _SETTLED_S * RATE_HZ]
        words = self._speech.words
        missed = self._known & ~heard
        lost = [missed[a:b].sum() / self._known[a:b].sum() for a, b in words]
        of_words = np.concatenate([missed[a:b] for a, b in words if a >= _FROM_S * RATE_HZ])
        return Score(
            delay_ms=round(float(np.median(settled)) - self._base_ms, 1) if settled else float("nan"),
            most_delay_ms=round(max(late for _, late in delays) - self._base_ms, 1),
            concealed=sum(each.is_concealed for each in frames if each.at_ms < end * 1000 / RATE_HZ),
            lost_share=round(float(of_words.mean()), 4),
            words_lost=sum(bool(share > _WORD_LOST) for share in lost),
            pesq=self._how_it_sounds(frames),
        )

    def _delays(self, frames: Sequence[Frame]) -> tuple[list[tuple[int, float]], np.ndarray[Any, Any]]:
        """Return the place and delay of each recognised piece, and the samples heard."""
        audio = b"".join(each.payload for each in frames)
        heard = np.zeros(len(self._speech.payload), np.bool_)
        delays: list[tuple[int, float]] = []
        for number, frame in enumerate(frames):
            if frame.is_concealed:
                continue
            for at in range(0, WIRE.frame_bytes, _KEY):
                start = number * WIRE.frame_bytes + at
                place = self._place.get(audio[start : start + _KEY], -1)
                if place >= 0:
                    heard[max(place - min(at, _FADE), 0) : place + _KEY] = True
                    delays.append((place, frame.at_ms - (place - at) * 1000 / RATE_HZ))
        return delays, heard

    def _how_it_sounds(self, frames: Sequence[Frame]) -> float | None:
        """Return the PESQ of a recording: frames at their sequence numbers, silence between."""
        if self._pesq is None:
            return None
        audio = np.full((frames[-1].seq + 1, WIRE.frame_bytes), WIRE.silence, np.uint8)
        for each in frames:
            audio[each.seq] = np.frombuffer(each.payload, np.uint8)
        return round(self._pesq(RATE_HZ, self._speech.pcm, decode(WIRE, audio.ravel()), "nb"), 2)


def _pesq() -> Callable[..., float] | None:
    """Return the function of the package `pesq`, if installed: building it takes a C compiler."""
    try:
        return cast("Callable[..., float]", importlib.import_module("pesq").pesq)
    except ImportError:
        return None
