"""Detect quiet frames: excess is dropped in them first."""

import numpy as np
import numpy.typing as npt

from sipgw.rtp.kernels.declare import inlined
from sipgw.rtp.kernels.wrap import wide

LoudnessI32 = npt.NDArray[np.int32]  # (256,): the magnitude of each code

QUIET_LEVEL = 330
"""Mean absolute sample of a quiet frame: -40 dBFS."""


@inlined
def is_quiet(ring: npt.NDArray[np.uint8], position: int, length: int, loudness: LoudnessI32) -> bool:
    """Return whether a frame in a ring is quiet."""
    total = 0
    for at in range(position, position + length):
        total += wide(loudness[ring[at % len(ring)]])
    return total < QUIET_LEVEL * length
