"""Copying bytes of rings, by the C library's own means where compiled."""

import ctypes
from typing import Any

import numpy as np
import numpy.typing as npt

from sipgw.rtp.kernels.declare import external, inlined

BytesU8 = npt.NDArray[np.uint8]

_memcpy: Any = external("memcpy", ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
_memset: Any = external("memset", ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t)


@inlined
def put(ring: BytesU8, position: int, data: BytesU8, start: int, length: int) -> None:
    """Write `length` bytes of `data` from `start` on at a position of a ring."""
    at = position % len(ring)
    first = min(length, len(ring) - at)
    _memcpy(ring[at:].ctypes, data[start:].ctypes, first)
    if first < length:
        _memcpy(ring.ctypes, data[start + first :].ctypes, length - first)


@inlined
def get(ring: BytesU8, position: int, out: BytesU8, start: int, length: int) -> None:
    """Read `length` bytes at a position of a ring into `out` from `start` on."""
    at = position % len(ring)
    first = min(length, len(ring) - at)
    _memcpy(out[start:].ctypes, ring[at:].ctypes, first)
    if first < length:
        _memcpy(out[start + first :].ctypes, ring.ctypes, length - first)


@inlined
def fill(ring: BytesU8, position: int, value: int, length: int) -> None:
    """Set `length` bytes at a position of a ring to one value."""
    at = position % len(ring)
    first = min(length, len(ring) - at)
    _memset(ring[at:].ctypes, value, first)
    if first < length:
        _memset(ring.ctypes, value, length - first)


@inlined
def fill_bytes(out: BytesU8, start: int, value: int, length: int) -> None:
    """Set `length` bytes of `out` from `start` on to one value."""
    _memset(out[start:].ctypes, value, length)


@inlined
def copy_bytes(out: BytesU8, to: int, data: BytesU8, start: int, length: int) -> None:
    """Copy `length` bytes of `data` from `start` on into `out` from `to` on."""
    _memcpy(out[to:].ctypes, data[start:].ctypes, length)
