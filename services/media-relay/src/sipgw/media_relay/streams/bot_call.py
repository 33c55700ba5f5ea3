"""BotCall: the facts of a call that the bot streams need; and the types of columns of handles."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

import numpy as np
import numpy.typing as npt

from sipgw.audio import AudioFormat, Codec

# One handle per row, uint32, shape (n,).
HandlesU32 = npt.NDArray[np.uint32]
# Byte counts per row, uint64, shape (n,).
BytesU64 = npt.NDArray[np.uint64]


class BotProtocol(Enum):
    """The RPC that carries the call. AUTO: Trunk, or StreamCall where the bot answers UNIMPLEMENTED."""

    AUTO = "auto"
    TRUNK = "trunk"
    STREAM_CALL = "stream_call"


@dataclass(frozen=True, slots=True)
class BotCall:
    """The facts of a call that the bot streams need, fixed when it is opened."""

    call_id: str
    endpoint: str
    """"host:port" of the bot."""
    wire_format: AudioFormat
    """The format of the uplink's blocks and of the listener's audio. Its frame_ms is the bot's."""
    bot_format: AudioFormat
    """The bot's own format, by its route."""
    tls: bool = False
    protocol: BotProtocol = BotProtocol.AUTO
    ready_timeout_ms: int = 5000
    silent_after_ms: int = 0
    """0: never."""
    reconnect_limit_ms: int = 10000
    epoch: int = 1
    resumed: bool = False
    resume_token: str = ""
    from_: str = ""
    to: str = ""
    route: str = ""
    trunk: str = ""
    sip_headers: Mapping[str, str] = field(default_factory=dict[str, str])
    from_parameters: Mapping[str, str] = field(default_factory=dict[str, str])
    to_parameters: Mapping[str, str] = field(default_factory=dict[str, str])
    preferred_address: str = ""
    """"ip:port" of the instance that had the call."""
    traceparent: str = ""
    playout_limit_bytes: int = 65536
    """Wire bytes that may wait unplayed. `consumed` gives room back."""

    def with_wire_codec(self, codec: Codec) -> "BotCall":
        """Return the call with another codec on the caller's side."""
        return replace(self, wire_format=replace(self.wire_format, codec=codec))
