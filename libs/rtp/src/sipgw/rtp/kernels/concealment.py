"""What is heard where no packet came: silence."""

from typing import Final

import numpy as np
import numpy.typing as npt

from sipgw.rtp.kernels.columns import SLOT_BYTES, Record
from sipgw.rtp.kernels.declare import inlined

RingU8 = npt.NDArray[np.uint8]

HISTORY: Final = 960  # bytes before the reading point that are kept


@inlined
def conceal(jitter: Record, out: RingU8, start: int) -> None:
    """Write a slot of silence into `out` from `start` on."""
    for i in range(SLOT_BYTES):
        out[start + i] = jitter["silence"]
