"""Names of the arrays that hold audio. The last axis is time, the others are calls."""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

# Linear samples, int16, shape (..., samples). "Pcm" always means these.
SamplesI16: TypeAlias = npt.NDArray[np.int16]
# Encoded bytes as they travel, uint8, shape (..., bytes).
PayloadU8: TypeAlias = npt.NDArray[np.uint8]
# Row numbers of calls, any unsigned or signed integer dtype, shape (n,).
RowIndices: TypeAlias = npt.NDArray[np.integer]
# One level per row, float64, shape (...) without the time axis.
LevelsF64: TypeAlias = npt.NDArray[np.float64]
