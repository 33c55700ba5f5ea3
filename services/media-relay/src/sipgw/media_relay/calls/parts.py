"""CallParts: the bundle that every class acting on calls is given."""

from dataclasses import dataclass

from sipgw.media_relay.calls.call_bots import CallBots
from sipgw.media_relay.calls.event_log import EventLog
from sipgw.media_relay.calls.sessions import Sessions
from sipgw.media_relay.plane.media_plane import MediaPlane
from sipgw.media_relay.stages.recorder import RecorderStage
from sipgw.media_relay.stages.turns import TurnStage


@dataclass(frozen=True, slots=True)
class CallParts:
    """The table of calls, the events for their edges, and the parts that serve their media."""

    sessions: Sessions
    events: EventLog
    bots: CallBots
    plane: MediaPlane
    recorder: RecorderStage
    turns: TurnStage
