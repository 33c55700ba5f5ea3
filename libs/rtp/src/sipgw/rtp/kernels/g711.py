"""G.711 of single samples, for computation inside kernels. The byte for silence identifies the law."""

from typing import Final

from sipgw.rtp.kernels.declare import inlined

ALAW_SILENCE: Final = 0xD5
MULAW_SILENCE: Final = 0xFF
_BIAS = 33  # of µ-law, in the 14-bit domain
_CLIP = 8158


@inlined
def decode(code: int, silence: int) -> int:
    """Return the linear sample, 16 bits, of a code."""
    if silence == ALAW_SILENCE:
        code ^= 0x55
        segment = (code >> 4) & 7
        magnitude = ((code & 15) << 1) + 1
        if segment > 0:
            magnitude = (magnitude + 32) << (segment - 1)
        return magnitude << 3 if code & 0x80 else -(magnitude << 3)
    code ^= 0xFF
    magnitude = ((((code & 15) << 1) + _BIAS) << ((code >> 4) & 7)) - _BIAS
    return -(magnitude << 2) if code & 0x80 else magnitude << 2


@inlined
def encode(sample: int, silence: int) -> int:
    """Return the code of a linear sample; one beyond 16 bits is clipped."""
    sample = min(max(sample, -32768), 32767)
    if silence == ALAW_SILENCE:
        linear = sample >> 3
        magnitude = ~linear if linear < 0 else linear
        segment = 0
        while magnitude >> (segment + 5) and segment < 7:
            segment += 1
        code = (segment << 4) | ((magnitude >> max(segment, 1)) & 15)
        return (code if linear < 0 else code | 0x80) ^ 0x55
    linear = sample >> 2
    magnitude = min(abs(linear), _CLIP) + _BIAS
    segment = 0
    while magnitude >> (segment + 6):
        segment += 1
    code = (segment << 4) | ((magnitude >> (segment + 1)) & 15)
    return (code | 0x80 if linear < 0 else code) ^ 0xFF
