"""The kinds of call that are measured."""

from dataclasses import dataclass
from typing import Final

from sipgw.api.config.v1 import config_pb2
from sipgw.api.relay.v1 import control_pb2 as pb

CALLS: Final = (20, 100, 250, 500, 1000, 1250, 1500, 1750)


@dataclass(frozen=True, slots=True)
class Series:
    """Calls of one kind, in the numbers that are measured unless others are asked for."""

    name: str
    what: str
    has_bot: bool = True
    protocol: config_pb2.BotProtocol = config_pb2.BOT_PROTOCOL_TRUNK
    frame_ms: int = 20
    is_recorded: bool = False
    calls: tuple[int, ...] = CALLS

    def allocation(self, caller_port: int, bot: str, recordings: str) -> pb.Allocate:
        """Return the Allocate command of one call."""
        allocate = pb.Allocate(
            media=pb.MediaSpec(
                remote_address="127.0.0.1",
                remote_rtp_port=caller_port,
                codec=config_pb2.AUDIO_CODEC_PCMU,
                ptime_ms=20,
            ),
            bot=pb.BotSpec(
                endpoint=bot,
                protocol=self.protocol,
                audio=config_pb2.BotAudio(frame_ms=self.frame_ms),
                playout=config_pb2.PLAYOUT_LIVE,
            ),
        )
        if self.is_recorded:
            allocate.recording.path = recordings
        return allocate


_STREAM_CALL: Final = config_pb2.BOT_PROTOCOL_STREAM_CALL
SERIES: Final = {
    each.name: each
    for each in (
        Series("trunk", "the SDK's echo bot over one trunk"),
        Series("builtin", "the relay's own echo", has_bot=False),
        Series("recorded", "as trunk, each call recorded", is_recorded=True, calls=(500, 1000)),
        Series("stream-20", "StreamCall, frames of 20 ms", protocol=_STREAM_CALL, calls=(100,)),
        Series("stream-60", "StreamCall, frames of 60 ms", protocol=_STREAM_CALL, frame_ms=60, calls=(250,)),
    )
}
