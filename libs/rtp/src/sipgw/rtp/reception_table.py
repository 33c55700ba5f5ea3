"""`reception` for many calls at once, as columns; row i is the source of call i."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sipgw.rtp.kernels.columns import Calls
from sipgw.rtp.kernels.reception import count_packets, reset

Rows = npt.NDArray[np.integer]
SequencesU16 = npt.NDArray[np.uint16]
TimestampsU32 = npt.NDArray[np.uint32]
Mask = npt.NDArray[np.bool_]
NumbersI64 = npt.NDArray[np.int64]


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
    """Statistics of the source of each call."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        columns = calls["reception"]
        self._begun: Mask = columns["begun"]
        self._base: NumbersI64 = columns["base"]
        self._highest: NumbersI64 = columns["highest"]
        self._received: NumbersI64 = columns["received"]
        self._received_before: NumbersI64 = columns["received_before"]
        self._lost_before: NumbersI64 = columns["lost_before"]
        self._expected_prior: NumbersI64 = columns["expected_prior"]
        self._received_prior: NumbersI64 = columns["received_prior"]
        self._jitter: npt.NDArray[np.float64] = columns["jitter"]

    def reset(self, row: int) -> None:
        """Clear the row for another call."""
        reset(self._calls[row]["reception"])

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
        counted = np.empty(len(rows), np.bool_)
        count_packets(
            self._calls,
            np.ascontiguousarray(rows, np.int64),
            sequence,
            timestamp,
            np.broadcast_to(np.asarray(arrival, np.uint32), counted.shape).copy(),
            np.ones(len(rows), np.bool_) if timed is None else timed,
            counted,
        )
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

    def _expected(self, row: int) -> int:
        return int(self._highest[row] - self._base[row]) + 1 if self._begun[row] else 0
