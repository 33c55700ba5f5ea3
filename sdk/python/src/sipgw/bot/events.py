"""The events of a call besides its audio, as values, and their conversion from the wire."""

from dataclasses import dataclass
from typing import TypeAlias

from sipgw.api import voicebot_pb2 as pb


@dataclass(frozen=True, slots=True)
class DtmfDown:
    """A key went down: a reason to stop speaking. `Dtmf` for the same press follows."""

    digit: str


@dataclass(frozen=True, slots=True)
class Dtmf:
    """A key was pressed: exactly one per press."""

    digit: str


@dataclass(frozen=True, slots=True)
class Played:
    """The caller has heard everything up to a mark, or a clear cut it off."""

    mark: str
    played_ms: int
    """Length of the speech that the caller heard since the call began."""
    cleared: bool = False
    dropped_ms: int = 0


@dataclass(frozen=True, slots=True)
class Hold:
    """The caller put the call on hold, or resumed it."""

    on_hold: bool


@dataclass(frozen=True, slots=True)
class TransferOutcome:
    """The result of a transfer."""

    accepted: bool
    sip_status: int
    reason: str


@dataclass(frozen=True, slots=True)
class ReplayMark:
    """Audio up to this seq was heard while the bot was away."""

    until_seq: int


@dataclass(frozen=True, slots=True)
class GatewayError:
    """The gateway could not carry out a request of the bot."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Answered:
    """The call is answered: from here on the caller hears the bot."""


@dataclass(frozen=True, slots=True)
class Resumed:
    """The call continues after a break, in another process of the gateway. No action is needed."""

    gap_ms: int
    """How long the bot had no stream of the call; 0 if the new stream began before the old one ended."""


Event: TypeAlias = (
    DtmfDown | Dtmf | Played | Hold | TransferOutcome | ReplayMark | GatewayError | Answered | Resumed
)


def event_from_wire(event: pb.CallEvent) -> Event | None:
    """Return the event in a CallEvent; None for Config, audio, HANGUP and unknown members."""
    match event.WhichOneof("payload"):
        case "dtmf":
            return Dtmf(event.dtmf.digit) if event.dtmf.end else DtmfDown(event.dtmf.digit)
        case "played":
            played = event.played
            return Played(played.mark, played.played_ms, played.cleared, played.dropped_ms)
        case "hold":
            return Hold(event.hold.on_hold)
        case "transfer_outcome":
            outcome = event.transfer_outcome
            return TransferOutcome(outcome.accepted, outcome.sip_status, outcome.reason)
        case "replay_mark":
            return ReplayMark(event.replay_mark.until_seq)
        case "error":
            return GatewayError(event.error.code, event.error.message)
        case "answered":
            return Answered()
        case _:
            return None
