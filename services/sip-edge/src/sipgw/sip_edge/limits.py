"""Limits on what callers, strangers and failures can make this edge do. Tests set others."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class SetupWindowLimits:
    """The least and the largest number of concurrent set-ups, and how long the quickest one may take."""

    least: int = 48
    most: int = 256
    target_s: float = 0.3
    interval_s: float = 0.25


@dataclass(frozen=True, slots=True)
class WrongPasswordLimits:
    """How many wrong passwords a source may send before all its passwords are refused.

    Only a host that receives our challenges can send a password, so no host can use up another's count.
    """

    count: int = 10
    period_ms: int = 60_000


@dataclass(frozen=True, slots=True)
class BanLimits:
    """Durations of bans.

    The first lasts `first_s`; after `forgotten_s` without a ban the next counts as a first.
    """

    first_s: float = 60.0
    longest_s: float = 3600.0
    forgotten_s: float = 3600.0
    most: int = 10_000
    """The number of bans remembered; beyond it the oldest is forgotten."""
    doubtful: int = 30
    """How many messages of a banned source that may belong to another edge's call are read in
    `doubtful_s`.
    """
    doubtful_s: float = 2.0
    challenges_per_s: float = 2.0
    """How many INVITEs of a banned source are challenged, so that it can still prove itself by a password."""


@dataclass(frozen=True, slots=True)
class StrangerLimits:
    """Limits for a source that is not trusted and in no trunk's network."""

    requests: int = 30
    """New requests outside of a dialog, and messages that cannot be parsed, in `period_s`; one more bans the
    source.
    """
    strays: int = 120
    """ACKs, responses and requests that belong to no call known here, in `period_s`; one more bans the
    source.
    """
    period_s: float = 2.0
    together_per_s: float = 300.0
    """Messages of all strangers together, whose sources may all be forged; the excess is dropped, but bans
    nobody.
    """
    most_sources: int = 16_384
    proof_s: float = 600.0
    """How long a source is exempt after it gave a right password."""
    bans: BanLimits = field(default_factory=BanLimits)


@dataclass(frozen=True, slots=True)
class RefreshLimits:
    """Limits on re-INVITEs that give callers this edge's Contact after a claim."""

    per_s: float = 100.0
    """How many may begin in a second, so that the calls of a claimed edge do not overload this one."""
    patience_s: float = 8.0
    """How long the edge waits for the caller's final response before it sends CANCEL."""
    quiet_within_s: float = 32.0
    """How long the edge waits until no other INVITE of the dialog is under way: 64*T1."""


@dataclass(frozen=True, slots=True)
class EdgeLimits:
    """Limits on what callers can make this edge hold."""

    setups: int = 2000
    """Concurrent calls without a final response; further ones get 503."""
    requests: int = 4000
    """Requests and ACKs being served at once; further ones are dropped or get 503."""
    placements: int = 4
    """How many relays are tried for one call."""
    moves_per_s: float = 200.0
    """How many moves may begin in a second, so that the calls of a dead relay do not overload the others."""
    refreshes: RefreshLimits = field(default_factory=RefreshLimits)
    window: SetupWindowLimits = field(default_factory=SetupWindowLimits)
    """Limits on concurrent calls whose relay does not have them yet; further ones get 503."""
    wrong_passwords: WrongPasswordLimits = field(default_factory=WrongPasswordLimits)
    """Limits on wrong passwords of one source; beyond them it gets 403."""
    strangers: StrangerLimits = field(default_factory=StrangerLimits)
    """Limits on sources that are not trusted and in no trunk's network."""
