"""Formats, features and facts of a call, as messages of voicebot.proto."""

from typing import Final

from sipgw.api import voicebot_pb2 as pb
from sipgw.audio import AudioFormat, Codec
from sipgw.media_relay.streams.bot_call import BotCall

FEATURES_KEY: Final = "sipgw-features"
# What this gateway understands of a bot, said in Config and Hello.
FEATURES: Final = (
    "accept",
    "answered",
    "clear",
    "hangup_now",
    "hold",
    "mark",
    "played",
    "replay",
    "resume",
    "send_dtmf",
    "transfer_now",
    "transfer_outcome",
)
RESUME: Final = "resume"
REPLAY: Final = "replay"
SUPERSEDED: Final = "superseded"
"""The beginning of the details of a StreamCall's ABORTED when a later stream has the call."""
_CODECS: Final = {Codec.PCMU: pb.PCMU, Codec.PCMA: pb.PCMA, Codec.PCM16: pb.PCM16}
_ATTACH_BITS: Final = 10


class FormatIds:
    """Ids of the formats in use, the same on every trunk."""

    def __init__(self) -> None:
        self._ids: dict[AudioFormat, int] = {}
        self._formats: list[AudioFormat | None] = [None]

    def id_of(self, audio_format: AudioFormat) -> int:
        """Return the format's id, given out at first use; 0 is no format."""
        number = self._ids.get(audio_format)
        if number is None:
            number = self._ids[audio_format] = len(self._formats)
            self._formats.append(audio_format)
        return number

    def format_of(self, number: int) -> AudioFormat | None:
        """Return the format of an id; None for an unknown one."""
        return self._formats[number] if number < len(self._formats) else None

    def all_wire(self) -> list[pb.AudioFormat]:
        """Return all formats in use, as messages."""
        return [self.wire(audio_format) for audio_format in self._ids]

    def wire(self, audio_format: AudioFormat) -> pb.AudioFormat:
        """Return a format as a message."""
        return pb.AudioFormat(
            id=self.id_of(audio_format),
            codec=_CODECS[audio_format.codec],
            sample_rate=audio_format.rate_hz,
            frame_ms=audio_format.frame_ms,
            frame_bytes=audio_format.frame_bytes,
        )


def attach_epoch(call_epoch: int, attaches: int) -> int:
    """Return the bot's epoch: it rises with each attach by this relay, and above every earlier relay's."""
    return call_epoch << _ATTACH_BITS | min(attaches, (1 << _ATTACH_BITS) - 1)


def config_of(call: BotCall, *, epoch: int, resumed: bool) -> pb.Config:
    """Make the Config event of a call."""
    return pb.Config(
        sample_rate=call.bot_format.rate_hz,
        codec=_CODECS[call.bot_format.codec],
        frame_ms=call.bot_format.frame_ms,
        to=call.to,
        route=call.route,
        trunk=call.trunk,
        sip_headers=call.sip_headers,
        from_parameters=call.from_parameters,
        to_parameters=call.to_parameters,
        resume_token=call.resume_token,
        epoch=epoch,
        resumed=resumed,
        features=FEATURES,
        **{"from": call.from_},
    )
