"""BotCall: what the bot streams know of a call, fixed when it is opened; and the columns of its handles."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sipgw.audio import AudioFormat, Codec

# One handle per row, uint32, shape (n,).
HandlesU32 = npt.NDArray[np.uint32]
# Byte counts per row, uint64, shape (n,).
BytesU64 = npt.NDArray[np.uint64]


class BotProtocol(Enum):
    """Which RPC carries the call. AUTO: Trunk, and StreamCall where the bot answers UNIMPLEMENTED."""

    AUTO = "auto"
    TRUNK = "trunk"
    STREAM_CALL = "stream_call"


@dataclass(frozen=True, slots=True)
class BotCall:
    """Everything the bot streams need to know of a call, fixed when it is opened."""

    call_id: str
    endpoint: str
    """Host:port."""
    wire_format: AudioFormat
    """Of send_audio's blocks and of what the listener gets; frame_ms is the bot's."""
    bot_format: AudioFormat
    """What the route gives the bot."""
    tls: bool = False
    protocol: BotProtocol = BotProtocol.AUTO
    ready_timeout_ms: int = 5000
    silent_after_ms: int = 0
    """0: off."""
    reconnect_limit_ms: int = 10000
    epoch: int = 1
    resumed: bool = False
    resume_token: str = ""
    from_: str = ""
    to: str = ""
    route: str = ""
    trunk: str = ""
    sip_headers: Mapping[str, str] = field(default_factory=dict[str, str])
    preferred_address: str = ""
    """The instance that had the call, "ip:port"."""
    traceparent: str = ""
    playout_limit_bytes: int = 65536
    """Wire bytes that may wait unplayed; `consumed` gives room back."""

    def with_wire_codec(self, codec: Codec) -> BotCall:
        """Return the call with another codec of the caller's."""
        return replace(self, wire_format=replace(self.wire_format, codec=codec))
