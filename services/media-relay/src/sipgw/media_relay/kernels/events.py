"""The results that kernels hand to Python: rare events, one by one, and totals."""

from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from sipgw.rtp.kernels.columns import Record
from sipgw.rtp.kernels.declare import inlined

Events: TypeAlias = npt.NDArray[Any]
"""An array of EVENT."""
Totals: TypeAlias = npt.NDArray[Any]
"""An array of one TOTALS."""

EVENT: Final = np.dtype(
    [
        ("kind", np.int32),  # one of the constants below
        ("row", np.int32),  # of the call
        ("slot", np.int32),  # which datagram
        ("size", np.int32),  # of the datagram, bytes
    ],
    align=True,
)
KEY, RTCP, FORMER_CODEC = 1, 2, 3
"""Datagrams: telephone events; RTCP on the RTP port; audio of the codec that was agreed before."""
SPOKE, MARK_REACHED, ROOM = 4, 5, 6
"""The bot is heard for the first time; a mark's audio was used up; the queue has room for waiting audio."""

TOTALS: Final = np.dtype(
    [
        ("events", np.int64),  # entries of the array of events in use
        ("malformed", np.int64),  # datagrams that are no RTP
        ("unexpected", np.int64),  # packets of a payload type that was not agreed
        ("concealed", np.int64),  # callers' frames that no packet brought
        ("left_out", np.int64),  # callers' frames left out after stalls
        ("skipped", np.int64),  # packets left out after stalls
        ("send_errors", np.int64),  # packets that the system refused to send
        ("consumed", np.int64),  # rows whose bot is to be told what was used up
    ],
    align=True,
)


@inlined
def tell(events: Events, totals: Record, kind: int, row: int, slot: int, size: int) -> None:
    """Add an event. The caller guarantees that there is room."""
    event = events[totals["events"]]
    event["kind"] = kind
    event["row"] = row
    event["slot"] = slot
    event["size"] = size
    totals["events"] += 1
