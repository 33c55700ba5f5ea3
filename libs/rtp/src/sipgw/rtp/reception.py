"""Reception statistics of one source (RFC 3550 appendix A.1, A.3 loss, A.8 jitter).

The test oracle of `reception_table`, also used where calls are few. It has no probation (A.1): latching
decides which source may send.
"""

from sipgw.rtp.kernels.reception import MAX_DROPOUT, MAX_MISORDER
from sipgw.rtp.sequence import timestamp_delta

_MODULUS = 1 << 16
_NONE = -1


class Reception:
    """Counts the packets of one SSRC, also when its sender restarts at another sequence number."""

    def __init__(self) -> None:
        self._base = _NONE
        self._highest = 0  # extended
        self._expected_next = _NONE  # after a jump: the next number of a sender that has restarted
        self._received = 0  # since base
        self._received_before = 0
        self._lost_before = 0
        self._expected_prior = 0
        self._received_prior = 0
        self._transit: int | None = None
        self._jitter = 0.0

    def receive(self, sequence: int, timestamp: int | None, arrival: int) -> bool:
        """Count a packet; return False for one out of all order.

        ``arrival`` is our clock in timestamp units. Pass no timestamp for a packet whose timestamp does not
        move with time (a telephone event): it says nothing about jitter, and since some senders number such
        packets apart from the audio, it begins nothing and moves the highest number only a little.
        """
        if timestamp is None and not self._is_near(sequence):
            return False
        if self._base == _NONE:
            self._begin(sequence)
        else:
            advance = (sequence - self._highest) % _MODULUS
            if advance < MAX_DROPOUT:
                self._highest += advance
            elif advance <= _MODULUS - MAX_MISORDER:
                if sequence != self._expected_next:
                    self._expected_next = (sequence + 1) % _MODULUS
                    return False
                self._begin(sequence)
        self._received += 1
        if timestamp is not None:
            self._measure_jitter(timestamp, arrival)
        return True

    @property
    def received(self) -> int:
        return self._received_before + self._received

    @property
    def lost(self) -> int:
        """Packets expected less packets received; duplicates can make it negative (RFC 3550 §6.4.1)."""
        return self._lost_before + self._expected - self._received

    @property
    def jitter(self) -> float:
        """Interarrival jitter in timestamp units."""
        return self._jitter

    @property
    def highest_sequence(self) -> int:
        """The highest sequence number, extended to 32 bits."""
        return self._highest & 0xFFFFFFFF

    def take_fraction_lost(self) -> int:
        """Return the loss since the last call, in 256ths (RFC 3550 §A.3), for a report."""
        expected = self._expected - self._expected_prior
        lost = expected - (self._received - self._received_prior)
        self._expected_prior, self._received_prior = self._expected, self._received
        return min((lost << 8) // expected, 255) if expected > 0 and lost > 0 else 0

    def _is_near(self, sequence: int) -> bool:
        advance = (sequence - self._highest) % _MODULUS
        return self._base != _NONE and (advance < MAX_MISORDER or advance > _MODULUS - MAX_MISORDER)

    @property
    def _expected(self) -> int:
        return self._highest - self._base + 1 if self._base != _NONE else 0

    def _begin(self, sequence: int) -> None:
        self._lost_before += self._expected - self._received
        self._received_before += self._received
        self._base = self._highest = sequence
        self._expected_next = _NONE
        self._received = self._expected_prior = self._received_prior = 0
        self._transit = None

    def _measure_jitter(self, timestamp: int, arrival: int) -> None:
        transit = arrival - timestamp
        if self._transit is not None:
            difference = abs(timestamp_delta(transit, self._transit))
            self._jitter += (difference - self._jitter) / 16
        self._transit = transit
