"""Numbers that wrap, read from bytes and columns into int64, where nothing overflows."""

from typing import Any

import numpy as np

from sipgw.rtp.kernels.declare import inlined


@inlined
def wide(number: Any) -> int:
    """Return a column's number as int64."""
    result: Any = np.int64(number)
    return result


@inlined
def signed_32(number: int) -> int:
    """Return the number modulo 2**32, from -2**31 on."""
    return ((number + 0x80000000) & 0xFFFFFFFF) - 0x80000000
