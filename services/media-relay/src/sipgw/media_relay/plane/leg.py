"""Leg: the caller's side of one open row beside its columns: sockets, latch, where media may go."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from sipgw.media_relay.plane.media_parameters import MediaParameters
from sipgw.media_relay.plane.rtp_endpoint import RtpEndpoint
from sipgw.rtp.media_destination import Evidence, LocalAddresses, Reach, judge_destination
from sipgw.rtp.source_latch import Source, SourceLatch


@dataclass(slots=True)
class Leg:
    """The caller's leg of one call."""

    endpoint: RtpEndpoint
    latch: SourceLatch
    media: MediaParameters
    strange: int = field(default=0, init=False)
    has_started: bool = field(default=False, init=False)
    is_muted: bool = field(default=False, init=False)
    """Whether nothing is sent, since the call may be elsewhere."""
    acknowledged_host: str = field(default="", init=False)
    """The host of the SDP whose answer the caller has acknowledged."""
    reach: Reach = field(default=Reach.HELD, init=False)
    """Whether RTP may go to its destination."""
    may_report: bool = field(default=False, init=False)
    """Whether RTCP may be sent: only where RTP goes freely, to a host that RTP may go to."""
    _rtcp_candidate: Source | None = field(default=None, init=False)

    def take_media(self, media: MediaParameters) -> None:
        """Apply media agreed anew. Another host has to be acknowledged anew."""
        self.media = media
        self.latch.rules = media.peer.latch
        if media.peer.is_acknowledged:
            self.acknowledge()

    def mute(self, *, muted: bool) -> None:
        """Send nothing from now on, or send again."""
        self.is_muted = muted

    def acknowledge(self) -> None:
        """Note that the caller acknowledged the answer to its last SDP."""
        if self.media.remote is not None:  # a hold names no address, and revokes nothing
            self.acknowledged_host = self.media.remote.host

    def direct(self, local: LocalAddresses) -> Reach:
        """Judge where media goes, after anything that may change it.

        While nothing is known it goes nowhere.
        """
        self.reach = self._judge(self.endpoint.remote, local)
        self.may_report = self.reach is Reach.FREE and not self.is_muted
        if self.may_report and not self.media.is_muxed:
            self.may_report = self._judge(self.endpoint.remote_rtcp, local) is Reach.FREE
        return self.reach

    def takes_rtcp(self, source: Source) -> bool:
        """Return whether a report comes from the caller.

        Two in a row from another port of its host redirect ours.
        """
        remote, reports = self.endpoint.remote, self.endpoint.remote_rtcp
        if source == reports:
            return True
        if source.host not in {known.host for known in (remote, reports) if known is not None}:
            return False
        if self.media.is_symmetric:
            if self._rtcp_candidate == source:
                self.endpoint.send_reports_to(source)
            self._rtcp_candidate = source
        return True

    def count_stranger(self) -> None:
        """Count a packet from a source other than the caller."""
        self.strange += 1

    def begin(self) -> bool:
        """Note a packet of the caller; return whether it is the first."""
        is_first, self.has_started = not self.has_started, True
        return is_first

    def _judge(self, destination: Source | None, local: LocalAddresses) -> Reach:
        if destination is None:
            return Reach.HELD
        sdp = self.media.remote, self.media.remote_rtcp
        is_of_sdp = destination.host in {named.host for named in sdp if named is not None}
        is_acknowledged = bool(self.media.remote) and self.acknowledged_host == self.media.remote.host
        evidence = Evidence(destination.host in self.latch.proven, is_acknowledged and is_of_sdp)
        return judge_destination(destination, self.media.peer.destination, evidence, local)


class Legs:
    """The legs of open calls, by row."""

    def __init__(self, rows: int) -> None:
        self._legs: list[Leg | None] = [None] * rows

    def __iter__(self) -> Iterator[Leg]:
        return (leg for leg in self._legs if leg is not None)

    def of(self, row: int) -> Leg:
        """Return the leg of an open call. Raises LookupError for a row without one."""
        leg = self._legs[row]
        if leg is None:
            raise LookupError(f"row {row} has no call")
        return leg

    def put(self, row: int, leg: Leg) -> None:
        """Let a call have the row."""
        self._legs[row] = leg

    def remove(self, row: int) -> None:
        """Leave the row free."""
        self._legs[row] = None
