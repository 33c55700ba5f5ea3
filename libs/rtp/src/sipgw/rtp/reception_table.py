"""`reception` for many calls at once, as columns; row i is the source of call i."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sipgw.rtp.reception import MAX_DROPOUT, MAX_MISORDER

Rows = npt.NDArray[np.integer]
SequencesU16 = npt.NDArray[np.uint16]
TimestampsU32 = npt.NDArray[np.uint32]
Mask = npt.NDArray[np.bool_]

_NONE = -1


@dataclass(frozen=True, slots=True)
class ReceptionReport:
    """The numbers of a report block (RFC 3550 §6.4.1) and the totals of a call."""

    received: int
    lost: int
    fraction_lost: int
    """256ths, since the last report."""
    highest_sequence: int
    """Extended, 32 bits."""
    jitter: float
    """Timestamp units."""


class ReceptionTable:
    """Statistics of ``rows`` sources."""

    def __init__(self, rows: int) -> None:
        self._begun = np.zeros(rows, np.bool_)
        self._base = np.zeros(rows, np.int64)
        self._highest = np.zeros(rows, np.int64)
        self._expected_next = np.full(rows, _NONE, np.int32)
        self._received = np.zeros(rows, np.int64)
        self._received_before = np.zeros(rows, np.int64)
        self._lost_before = np.zeros(rows, np.int64)
        self._expected_prior = np.zeros(rows, np.int64)
        self._received_prior = np.zeros(rows, np.int64)
        self._timed = np.zeros(rows, np.bool_)  # whether there is a transit time to compare with
        self._transit = np.zeros(rows, np.int32)
        self._jitter = np.zeros(rows, np.float64)

    def reset(self, row: int) -> None:
        """Clear the row for another call."""
        self._begun[row] = False
        self._expected_next[row] = _NONE
        columns = (self._base, self._highest, self._received, self._received_before, self._lost_before)
        for column in (*columns, self._expected_prior, self._received_prior, self._transit):
            column[row] = 0
        self._jitter[row] = 0

    def receive(
        self,
        rows: Rows,
        sequence: SequencesU16,
        timestamp: TimestampsU32,
        arrival: int | TimestampsU32,
        timed: Mask | None = None,
    ) -> Mask:
        """Count one packet of each of ``rows``, which are all different.

        ``arrival`` is our clock in timestamp units; ``timed`` is False for packets whose timestamp does not
        move with time (telephone events), which say nothing about jitter, and which some senders number
        apart from the audio: they begin nothing and move no row far. Shape (n,) each; the result is False
        where a packet is out of all order and not counted.
        """
        if timed is not None and not timed.all():
            near = timed | self._is_near(rows, sequence)
            if not near.all():
                when = arrival if isinstance(arrival, int) else arrival[near]
                counted = near.copy()
                counted[near] = self.receive(rows[near], sequence[near], timestamp[near], when, timed[near])
                return counted
        numbers = sequence.astype(np.int64)
        begun = self._begun[rows]
        advance = (numbers - self._highest[rows]) & 0xFFFF
        forward = begun & (advance < MAX_DROPOUT)
        jumped = begun & (advance >= MAX_DROPOUT) & (advance <= 0x10000 - MAX_MISORDER)
        anew = jumped & (numbers == self._expected_next[rows])
        refused = jumped & ~anew
        if refused.any():
            self._expected_next[rows[refused]] = (numbers[refused] + 1) & 0xFFFF
        begins = anew | ~begun
        if begins.any():
            self._begin(rows[begins], numbers[begins])
        self._highest[rows[forward]] += advance[forward]
        counted = ~refused
        self._received[rows[counted]] += 1
        transit = (np.asarray(arrival, np.int64) - timestamp.astype(np.int64)).astype(np.int32)
        measured = counted if timed is None else counted & timed
        self._measure_jitter(rows[measured], transit[measured])
        return counted

    def report(self, row: int) -> ReceptionReport:
        """Return a report and begin a new interval of ``fraction_lost``."""
        expected = self._expected(row)
        received = int(self._received[row])
        expected_now = expected - int(self._expected_prior[row])
        lost_now = expected_now - (received - int(self._received_prior[row]))
        self._expected_prior[row], self._received_prior[row] = expected, received
        report = self.totals(row)
        fraction = min((lost_now << 8) // expected_now, 255) if expected_now > 0 and lost_now > 0 else 0
        return ReceptionReport(report.received, report.lost, fraction, report.highest_sequence, report.jitter)

    def totals(self, row: int) -> ReceptionReport:
        """Return a report without ending the interval; ``fraction_lost`` is 0."""
        received = int(self._received[row])
        return ReceptionReport(
            received=int(self._received_before[row]) + received,
            lost=int(self._lost_before[row]) + self._expected(row) - received,
            fraction_lost=0,
            highest_sequence=int(self._highest[row]) & 0xFFFFFFFF,
            jitter=float(self._jitter[row]),
        )

    def has_begun(self, row: int) -> bool:
        """Return whether audio of the row's source was counted."""
        return bool(self._begun[row])

    def _is_near(self, rows: Rows, sequence: SequencesU16) -> Mask:
        advance = (sequence - self._highest[rows]) & 0xFFFF
        return self._begun[rows] & ((advance < MAX_MISORDER) | (advance > 0x10000 - MAX_MISORDER))

    def _expected(self, row: int) -> int:
        return int(self._highest[row] - self._base[row]) + 1 if self._begun[row] else 0

    def _begin(self, rows: Rows, numbers: npt.NDArray[np.int64]) -> None:
        expected = np.where(self._begun[rows], self._highest[rows] - self._base[rows] + 1, 0)
        self._lost_before[rows] += expected - self._received[rows]
        self._received_before[rows] += self._received[rows]
        self._base[rows] = self._highest[rows] = numbers
        self._expected_next[rows] = _NONE
        for column in (self._received, self._expected_prior, self._received_prior):
            column[rows] = 0
        self._begun[rows] = True
        self._timed[rows] = False

    def _measure_jitter(self, rows: Rows, transit: npt.NDArray[np.int32]) -> None:
        known = self._timed[rows]
        measured = rows[known]
        # Differences of wrapped 32-bit numbers, themselves wrapped to 32 bits.
        difference = np.abs((transit[known] - self._transit[measured]).astype(np.float64))
        self._jitter[measured] += (difference - self._jitter[measured]) / 16
        self._transit[rows] = transit
        self._timed[rows] = True
