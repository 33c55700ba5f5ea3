"""The functions of the C library by which kernels read and write datagrams. Nothing here waits."""

import ctypes
import platform
from typing import Any, Final

import numpy as np

from sipgw.rtp.kernels.declare import external

MSG_DONTWAIT: Final = 0x40
SLOT: Final = 2048
"""A datagram that fills its slot is too long for an audio packet, and was cut off."""

# struct epoll_event is packed on x86-64 only.
_IS_PACKED: Final = platform.machine() == "x86_64"
EPOLL_EVENT: Final = np.dtype(
    {
        "names": ["events", "fd"],
        "formats": [np.uint32, np.int32],
        "offsets": [0, 4 if _IS_PACKED else 8],
        "itemsize": 12 if _IS_PACKED else 16,
    }
)

epoll_wait: Any = external(
    "epoll_wait", ctypes.c_int, ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_int
)
recv: Any = external("recv", ctypes.c_ssize_t, ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
send: Any = external("send", ctypes.c_ssize_t, ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
