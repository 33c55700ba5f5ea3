"""Conceal lost packets: continue the voice for a moment and fade it out (ITU-T G.711 Appendix I).

The last period of the voice is repeated, then the last two and three, so that nothing buzzes; from the second
slot on it fades, and after 60 ms there is silence. The first audio after the hole is faded in over it. Unlike
the appendix, this delays nothing: the first samples of the hole are bent towards the last samples before it.

Where the caller announced silence, its comfort noise is played instead (RFC 3389).
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from sipgw.rtp.kernels.columns import CAPACITY, SLOT_BYTES, Record
from sipgw.rtp.kernels.declare import inlined
from sipgw.rtp.kernels.g711 import decode, encode
from sipgw.rtp.kernels.memory import fill_bytes
from sipgw.rtp.kernels.wrap import wide

RingU8 = npt.NDArray[np.uint8]

HISTORY: Final = 960  # bytes before a hole that are kept: three periods, and the hole until it is silent
SILENT_AFTER: Final = 480  # samples: 60 ms
_FULL: Final = 80  # samples before it fades
_SHORTEST: Final = 40  # samples of a voice's period: 200 Hz
_LONGEST: Final = 120  # 66 Hz
_WINDOW: Final = 160  # samples that are compared
_VOICED: Final = 0.35  # likeness of the windows below which there is no period
_LOUDEST_NOISE: Final = 30  # -dBov
_ROOT_3: Final = 1.7320508  # of evenly distributed noise: its largest value over its mean level
_DECIBEL: Final = 0.8912509381337456


@inlined
def conceal(jitter: Record, ring: RingU8, out: RingU8, start: int) -> None:
    """Write a slot of the hole at the reading point into `out` from `start` on; count it."""
    silence = wide(jitter["silence"])
    if jitter["missing"] == 0:
        jitter["lost_at"] = jitter["head"] + start
        jitter["pitch"] = find_pitch(ring, jitter["lost_at"], silence)
    begun = jitter["missing"]
    if begun >= SILENT_AFTER:
        fill_bytes(out, start, silence, SLOT_BYTES)
    else:
        for i in range(SLOT_BYTES):
            out[start + i] = encode(int(go_on(jitter, ring, begun + i)), silence)
    jitter["missing"] = min(begun + SLOT_BYTES, SILENT_AFTER + SLOT_BYTES)


@inlined
def fade_in(jitter: Record, ring: RingU8, out: RingU8, start: int) -> None:
    """Fade in the slot after a hole, in `out` from `start` on, over the audio that concealed the hole."""
    begun = jitter["missing"]
    jitter["missing"] = 0
    if begun == 0 or begun >= SILENT_AFTER:
        return
    silence = wide(jitter["silence"])
    length = min(24 + begun * 2 // 5, SLOT_BYTES)
    for i in range(length):
        weight = (i + 1) / (length + 1)
        heard = decode(wide(out[start + i]), silence)
        out[start + i] = encode(int(weight * heard + (1 - weight) * go_on(jitter, ring, begun + i)), silence)


@inlined
def go_on(jitter: Record, ring: RingU8, number: int) -> float:
    """Return a sample of the continued voice, `number` samples after it broke off."""
    if number >= SILENT_AFTER:
        return 0.0
    silence, period, lost_at = wide(jitter["silence"]), jitter["pitch"], jitter["lost_at"]
    quarter = period // 4
    slot, into = number // SLOT_BYTES, number % SLOT_BYTES
    periods = min(slot + 1, 3)
    sample = repeat(ring, lost_at, silence, periods * period, quarter, number)
    if 0 < slot < 3 and into < quarter:  # another period joins in
        weight = (into + 1) / (quarter + 1)
        before = repeat(ring, lost_at, silence, (periods - 1) * period, quarter, number)
        sample = weight * sample + (1 - weight) * before
    if number < quarter:
        last = said(ring, lost_at - 1, silence) - said(ring, lost_at - 1 - period, silence)
        sample += last * (1 - (number + 1) / (quarter + 1))
    if number >= _FULL:
        sample *= 1 - (number - _FULL) / (SILENT_AFTER - _FULL)
    return sample


@inlined
def repeat(ring: RingU8, lost_at: int, silence: int, length: int, quarter: int, number: int) -> float:
    """Return a sample of the last `length` samples repeated; its end leads over to its beginning."""
    at = number % length
    sample = float(said(ring, lost_at - length + at, silence))
    left = length - at
    if left <= quarter:
        weight = left / (quarter + 1)
        sample = weight * sample + (1 - weight) * said(ring, lost_at - 2 * length + at, silence)
    return sample


@inlined
def said(ring: RingU8, position: int, silence: int) -> int:
    """Return a sample that was heard before."""
    return decode(wide(ring[position % CAPACITY]), silence)


@inlined
def find_pitch(ring: RingU8, end: int, silence: int) -> int:
    """Return the period of the voice before a position; the longest where it has none."""
    best, likeness = _LONGEST, 0.0
    for lag in range(_SHORTEST, _LONGEST + 1, 2):
        found = likeness_at(ring, end, silence, lag, 2)
        if found > likeness:
            best, likeness = lag, found
    if likeness < _VOICED:
        return _LONGEST
    finest, likeness = best, 0.0
    for lag in range(max(best - 1, _SHORTEST), min(best + 1, _LONGEST) + 1):
        found = likeness_at(ring, end, silence, lag, 1)
        if found > likeness:
            finest, likeness = lag, found
    return finest


@inlined
def likeness_at(ring: RingU8, end: int, silence: int, lag: int, step: int) -> float:
    """Return the likeness of the last samples and those `lag` samples earlier: 1.0 is the same."""
    product = own = other = 0.0
    for position in range(end - _WINDOW, end, step):
        sample = float(said(ring, position, silence))
        earlier = float(said(ring, position - lag, silence))
        product += sample * earlier
        own += sample * sample
        other += earlier * earlier
    return product / np.sqrt(own * other) if own > 0 and other > 0 else 0.0


@inlined
def rest(jitter: Record, out: RingU8, start: int) -> None:
    """Write a slot of a silent caller's comfort noise into `out` from `start` on."""
    jitter["missing"] = SILENT_AFTER
    silence = wide(jitter["silence"])
    amplitude = _ROOT_3
    for _ in range(max(jitter["rest_level"], _LOUDEST_NOISE)):
        amplitude *= _DECIBEL
    state = jitter["noise"]
    for i in range(SLOT_BYTES):
        state = (state * 1664525 + 1013904223) & 0xFFFFFFFF
        out[start + i] = encode(int(amplitude * ((state >> 16) - 0x8000)), silence)
    jitter["noise"] = state
