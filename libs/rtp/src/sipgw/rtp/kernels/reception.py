"""Reception statistics (RFC 3550 §A.1, §A.3, §A.8) of one call. `sipgw.rtp.reception` is the oracle."""

import numpy as np
import numpy.typing as npt

from sipgw.rtp.kernels.columns import CALL, Calls, Record
from sipgw.rtp.kernels.declare import Array, inlined, kernel
from sipgw.rtp.kernels.wrap import signed_32, wide

MAX_DROPOUT = 3000
MAX_MISORDER = 100


@inlined
def count_packet(reception: Record, number: int, timestamp: int, arrival: int, timed: bool) -> bool:  # noqa: FBT001
    """Count a packet; return False for one out of all order.

    `arrival` is our clock in timestamp units; `timed` is False for packets whose timestamp does not move with
    time (telephone events), which say nothing about jitter, and which some senders number apart from the
    audio: they begin nothing, and move the highest number only a little.
    """
    if not timed and not is_near(reception, number):
        return False
    if not reception["begun"]:
        begin(reception, number)
    else:
        advance = (number - wide(reception["highest"])) & 0xFFFF
        if advance < MAX_DROPOUT:
            reception["highest"] += advance
        elif advance <= 0x10000 - MAX_MISORDER:
            if number != wide(reception["expected_next"]):
                reception["expected_next"] = (number + 1) & 0xFFFF
                return False
            begin(reception, number)
    reception["received"] += 1
    if timed:
        measure_jitter(reception, signed_32(arrival - timestamp))
    return True


@inlined
def is_near(reception: Record, number: int) -> bool:
    """Return whether a number is close to the highest one counted."""
    advance = (number - wide(reception["highest"])) & 0xFFFF
    is_close = advance < MAX_MISORDER or advance > 0x10000 - MAX_MISORDER
    return bool(reception["begun"]) and is_close


@inlined
def begin(reception: Record, number: int) -> None:
    """Begin to count anew: the first packet of a sender, or of one that restarted."""
    if reception["begun"]:
        reception["lost_before"] += reception["highest"] - reception["base"] + 1
    reception["lost_before"] -= reception["received"]
    reception["received_before"] += reception["received"]
    reception["base"] = number
    reception["highest"] = number
    reception["expected_next"] = -1
    reception["received"] = 0
    reception["expected_prior"] = 0
    reception["received_prior"] = 0
    reception["begun"] = True
    reception["timed"] = False


@inlined
def measure_jitter(reception: Record, transit: int) -> None:
    """Add a packet's transit time, 32 bits, to the jitter (RFC 3550 §A.8)."""
    if reception["timed"]:
        # A difference of wrapped 32-bit numbers, itself wrapped to 32 bits.
        difference = abs(float(signed_32(transit - wide(reception["transit"]))))
        reception["jitter"] += (difference - reception["jitter"]) / 16
    reception["transit"] = transit
    reception["timed"] = True


@inlined
def received(reception: Record) -> int:
    """Return the packets counted."""
    return reception["received_before"] + reception["received"]


@inlined
def lost(reception: Record) -> int:
    """Return packets expected less packets received; duplicates can make it negative (RFC 3550 §6.4.1)."""
    expected = reception["highest"] - reception["base"] + 1 if reception["begun"] else 0
    return reception["lost_before"] + expected - reception["received"]


@inlined
def reset(reception: Record) -> None:
    """Clear the statistics for another source."""
    reception["begun"] = False
    reception["timed"] = False
    reception["base"] = 0
    reception["highest"] = 0
    reception["expected_next"] = -1
    reception["received"] = 0
    reception["received_before"] = 0
    reception["lost_before"] = 0
    reception["expected_prior"] = 0
    reception["received_prior"] = 0
    reception["transit"] = 0
    reception["jitter"] = 0.0


@kernel(
    Array(CALL),
    Array(np.int64),
    Array(np.uint16),
    Array(np.uint32),
    Array(np.uint32),
    Array(np.bool_),
    Array(np.bool_),
)
def count_packets(
    calls: Calls,
    rows: npt.NDArray[np.int64],
    numbers: npt.NDArray[np.uint16],
    timestamps: npt.NDArray[np.uint32],
    arrivals: npt.NDArray[np.uint32],
    timed: npt.NDArray[np.bool_],
    counted: npt.NDArray[np.bool_],
) -> int:
    """Count one packet of each row; `counted` becomes False for those out of all order."""
    for i in range(len(rows)):
        counted[i] = count_packet(
            calls[rows[i]]["reception"],
            wide(numbers[i]),
            wide(timestamps[i]),
            wide(arrivals[i]),
            timed[i],
        )
    return len(rows)
