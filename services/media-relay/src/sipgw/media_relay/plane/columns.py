"""Columns: the columnar parts that the lobby hands packets to."""

from dataclasses import dataclass

from sipgw.media_relay.rtp.receiver import RtpReceiver
from sipgw.media_relay.rtp.rtcp_reports import RtcpReports
from sipgw.media_relay.rtp.uplink import Uplink


@dataclass(frozen=True, slots=True)
class Columns:
    """The receiver of RTP, the uplink's clocks, and the RTCP reports."""

    receiver: RtpReceiver
    uplink: Uplink
    reports: RtcpReports
