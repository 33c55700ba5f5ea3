"""Numbers that wrap, read from bytes and columns into int64, where nothing overflows."""

from typing import Any

import numpy as np
import numpy.typing as npt

from sipgw.rtp.kernels.declare import inlined


@inlined
def wide(number: Any) -> int:
    """Return a column's number as int64."""
    result: Any = np.int64(number)
    return result


@inlined
def signed_16(number: int) -> int:
    """Return the number modulo 2**16, from -2**15 on."""
    return ((number + 0x8000) & 0xFFFF) - 0x8000


@inlined
def signed_32(number: int) -> int:
    """Return the number modulo 2**32, from -2**31 on."""
    return ((number + 0x80000000) & 0xFFFFFFFF) - 0x80000000


@inlined
def read_16(data: npt.NDArray[np.uint8], at: int) -> int:
    """Return two bytes in network order."""
    return wide(data[at]) << 8 | wide(data[at + 1])


@inlined
def read_32(data: npt.NDArray[np.uint8], at: int) -> int:
    """Return four bytes in network order."""
    return read_16(data, at) << 16 | read_16(data, at + 2)


@inlined
def write_16(data: npt.NDArray[np.uint8], at: int, number: int) -> None:
    """Write the number's low 16 bits in network order."""
    data[at] = number >> 8 & 0xFF
    data[at + 1] = number & 0xFF


@inlined
def write_32(data: npt.NDArray[np.uint8], at: int, number: int) -> None:
    """Write the number's low 32 bits in network order."""
    write_16(data, at, number >> 16)
    write_16(data, at + 2, number)
