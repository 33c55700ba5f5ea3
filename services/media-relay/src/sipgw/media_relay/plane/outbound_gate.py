"""OutboundGate: holds back the bot's speech while it may not be sent to the caller's address yet.

Held audio stays in the playout queue: it is neither dropped nor counted as played. A destination that is only
trusted gets a bounded number of packets in all; nothing is counted for any other.
"""

from typing import Final

import numpy as np

from sipgw.media_relay.rtp.playout import PlayoutQueue
from sipgw.media_relay.rtp.transmitter import Transmitter
from sipgw.rtp.media_destination import LIMITED_PACKETS, Reach

_FOR_SPEECH: Final = LIMITED_PACKETS // 2
"""How many packets of a LIMITED destination are kept for the bot's speech.

Silence so can't use up the early media of a bot that takes long to begin.
"""


class OutboundGate:
    """Holds and releases rows of the transmitter. Single-threaded."""

    def __init__(self, transmitter: Transmitter, playout: PlayoutQueue) -> None:
        self._transmitter = transmitter
        self._playout = playout
        self._left: dict[int, int] = {}
        """How many packets a call may still send to LIMITED destinations."""
        self._ends_at: dict[int, int] = {}
        """The number of sent packets at which a limited row is held, by row."""

    def apply(self, row: int, reach: Reach, *, is_sending: bool, tick_number: int) -> bool:
        """Let the row send, or hold it; return whether it may send. A row on hold uses its audio up."""
        self._end_limit(row)
        may_send = reach is Reach.FREE
        if reach is Reach.LIMITED and (left := self._left.get(row, LIMITED_PACKETS)) > 0:
            may_send = True
            self._ends_at[row] = int(self._transmitter.sent[row]) + left
        self._transmitter.hold(row, tick_number, is_held=is_sending and not may_send)
        return may_send

    def close(self, row: int) -> None:
        """Forget the call on the row."""
        self._left.pop(row, None)
        self._ends_at.pop(row, None)

    def check(self, tick_number: int) -> None:
        """Hold, after each tick, the rows whose packets are used up, or are kept for speech."""
        if not self._ends_at:
            return
        rows = np.fromiter(self._ends_at, np.intp)
        left = np.fromiter(self._ends_at.values(), np.int64) - self._transmitter.sent[rows]
        waiting = self._playout.depth(rows)
        for row, packets, speech in zip(rows.tolist(), left.tolist(), waiting.tolist(), strict=True):
            is_quiet = not speech and not self._transmitter.is_sending_digits(row)
            if packets <= 0:
                self._end_limit(row)
            self._transmitter.hold(
                row, tick_number, is_held=packets <= 0 or (is_quiet and packets <= _FOR_SPEECH)
            )

    def _end_limit(self, row: int) -> None:
        if (end := self._ends_at.pop(row, None)) is not None:
            self._left[row] = max(end - int(self._transmitter.sent[row]), 0)
