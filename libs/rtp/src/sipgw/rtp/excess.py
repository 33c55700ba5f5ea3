"""Excess depth of a queue: how a backlog never becomes latency and a burst is never cut.

A stream that arrives at real time (0.9 to 1.1 times) and whose queue in one second never fell to its target
has a standing backlog, left by a pause of its sender or of us. That minimum, less the target, is dropped, and
nothing more. A faster arrival (a burst of speech), or none (its end), is no backlog. Quiet frames are dropped
first; when a row's patience is over, every second frame is dropped.

A full queue holds its sender back. Then a burst too arrives at real time, as fast as there is room, and is no
backlog either.
"""

from typing import Any, Final

import numpy.typing as npt

from sipgw.rtp.kernels.columns import FAR
from sipgw.rtp.kernels.excess import open_window

PATIENCE_S: Final = 0.5
IMPATIENCE_S: Final = 0.1


class ExcessWatch:
    """The watches of all rows, whose rules are in `sipgw.rtp.kernels.excess`."""

    def __init__(self, columns: npt.NDArray[Any]) -> None:
        """Take `columns`: an array of `EXCESS`, one record a row."""
        self._columns = columns
        columns["minimum"] = columns["minimum_before"] = FAR
        columns["patience"] = PATIENCE_S

    def reset(self, row: int, now_s: float, *, patience_s: float = PATIENCE_S) -> None:
        """Begin to watch a row anew; only quiet frames are dropped for `patience` seconds."""
        excess = self._columns[row]
        excess["patience"] = patience_s
        open_window(excess, now_s)
        excess["elapsed_before"] = 0
        excess["debt"] = 0

    def forgive(self, row: int) -> None:
        """Clear the debt since the queue was emptied."""
        excess = self._columns[row]
        excess["debt"] = 0
        excess["minimum"] = excess["minimum_before"] = 0
