"""Columns: what the lobby needs of the parts that keep calls as rows of arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sipgw.media_relay.rtp.receiver import RtpReceiver
    from sipgw.media_relay.rtp.rtcp_reports import RtcpReports
    from sipgw.media_relay.rtp.uplink import Uplink


@dataclass(frozen=True, slots=True)
class Columns:
    """Where a caller's packets go."""

    receiver: RtpReceiver
    uplink: Uplink
    reports: RtcpReports
