"""The counters of the bot streams, read by the relay's metrics."""

from dataclasses import dataclass


@dataclass(slots=True)
class BotCounters:
    """Totals since the process started."""

    audio_dropped_unacked: int = 0
    """Batches and frames that a slow bot did not get."""
    audio_unknown_handle: int = 0
    """Frames from a bot for a handle that is not, or no longer, its own."""
    audio_malformed: int = 0
    """Batches whose lengths don't add up."""
    frames_replayed: int = 0
    """Missed frames that bots got after they had been away."""
    events_dropped_undeclared: int = 0
    """Events not sent to a bot that did not declare their feature."""
    trunks_opened: int = 0
    trunks_stalled: int = 0
    stream_calls_opened: int = 0
    reconnects: int = 0
    bots_silent: int = 0
