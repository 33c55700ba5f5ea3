"""Bounds of what callers, strangers and deaths can make this edge do. Tests bring others."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class SetupWindowLimits:
    """Set-ups at once at the least and at the most; seconds that the quickest set-up may take."""

    least: int = 48
    most: int = 256
    target_s: float = 0.3
    interval_s: float = 0.25


@dataclass(frozen=True, slots=True)
class WrongPasswordLimits:
    """How many wrong passwords a source may bring before it is not listened to. Only who hears our
    challenges can bring one, so nobody can use up the count of another.
    """

    count: int = 10
    period_ms: int = 60_000


@dataclass(frozen=True, slots=True)
class BanLimits:
    """Seconds of the first ban and of the longest; after `forgotten_s` without a ban the next is a first
    one.
    """

    first_s: float = 60.0
    longest_s: float = 3600.0
    forgotten_s: float = 3600.0
    most: int = 10_000
    """Sources whose bans are remembered; the one banned longest ago is forgotten for another."""
    doubtful: int = 30
    """What may be of a call that another edge has is let through so often in `doubtful_s`, of each source."""
    doubtful_s: float = 2.0
    challenges_per_s: float = 2.0
    """INVITEs that are asked for a password though their source is banned: else it could bring none."""


@dataclass(frozen=True, slots=True)
class StrangerLimits:
    """What a source that nobody vouches for may send."""

    requests: int = 30
    """New requests outside of a dialog, or messages that can't be read, in `period_s`; one more bans it."""
    strays: int = 120
    """ACKs, responses and requests of no call that is known here, in `period_s`; one more bans it."""
    period_s: float = 2.0
    together_per_s: float = 300.0
    """Of all strangers together, whose sources may all be forged; what is above is dropped, nobody banned."""
    most_sources: int = 16_384
    proof_s: float = 600.0
    """How long a source that gave a right password is exempt."""
    bans: BanLimits = field(default_factory=BanLimits)


@dataclass(frozen=True, slots=True)
class RefreshLimits:
    """Of re-INVITEs that give callers another Contact, after a claim."""

    per_s: float = 100.0
    """So many begin: a claimed edge's calls must not drown the others."""
    patience_s: float = 8.0
    """How long a caller may think about one before we CANCEL it."""
    quiet_within_s: float = 32.0
    """How long another INVITE of the dialog may be under way first: 64*T1."""


@dataclass(frozen=True, slots=True)
class EdgeLimits:
    """Bounds of what strangers can make this edge hold."""

    setups: int = 2000
    """Calls between INVITE and final answer; more get 503."""
    requests: int = 4000
    """Requests and ACKs being served at once; more are dropped or get 503."""
    placements: int = 4
    """Relays tried for one call."""
    moves_per_s: float = 200.0
    """Calls that begin to change their relay: the death of a full one must not drown the others."""
    refreshes: RefreshLimits = field(default_factory=RefreshLimits)
    window: SetupWindowLimits = field(default_factory=SetupWindowLimits)
    """Calls between INVITE and a relay that has them; more get 503."""
    wrong_passwords: WrongPasswordLimits = field(default_factory=WrongPasswordLimits)
    """Of one source; then 403 without a look."""
    strangers: StrangerLimits = field(default_factory=StrangerLimits)
    """What sources may send that are in no trunk's network and not trusted."""
