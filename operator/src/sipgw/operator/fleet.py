"""What `plan()` works from and what it gives: the spec, what is observed, what is remembered, and the plan.

Relays are numbered: number i is ordinal i // L of lane i % L, L being the number of lanes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from sipgw.operator.spread import NodeState, numbers_of

_DEFAULT_CAPACITY: Final = 500.0


@dataclass(frozen=True, slots=True)
class SizingSpec:
    """What people say, with the defaults of SipGateway; `lanes` is the chart's."""

    lanes: int = 4
    least: int = 2
    most: int = 64
    target_utilization: float = 0.7
    warm: int = 1
    lookahead_s: float = 60.0
    scale_in_after_s: float = 300.0
    drain_deadline_s: float = 60.0


@dataclass(frozen=True, slots=True)
class RelayState:
    """A relay whose heart beats. `is_drain_requested`: it was us; else it goes by itself."""

    name: str
    capacity_units: int
    used_units: int = 0
    calls: int = 0
    ports_free: int = 1 << 20
    is_draining: bool = False
    is_drain_requested: bool = False
    is_outdated: bool = False
    node: str = ""
    is_full: bool = False
    """Its CPU is spent with what it has."""


@dataclass(frozen=True, slots=True)
class GoneRelay:
    """A relay whose heartbeat stopped minutes ago at most. `was_draining`: it was stopped on purpose."""

    node: str = ""
    was_draining: bool = False


@dataclass(frozen=True, slots=True)
class Observed:
    """Now: replicas a lane as they are asked for, and the relays that beat, by number.

    `gone`: those that the registry knows of and that beat no more; `nodes`: empty when nobody may read them.
    """

    replicas: tuple[int, ...]
    relays: Mapping[int, RelayState]
    gone: Mapping[int, GoneRelay] = field(default_factory=dict[int, GoneRelay])
    nodes: Mapping[str, NodeState] = field(default_factory=dict[str, NodeState])
    setups_per_s: float = 0.0
    outdated_silent: frozenset[str] = frozenset()
    """Pods of an old template whose relay does not beat, by name: they are replaced at once."""
    is_rolling: bool = False

    @property
    def numbers(self) -> frozenset[int]:
        """All that are asked for."""
        return numbers_of(self.replicas)


@dataclass(frozen=True, slots=True)
class Move:
    """A relay that is to leave the node where all are. `relay` is empty while none is on its way."""

    crowded_since: float | None = None
    relay: str = ""
    began: float = float("-inf")
    tries: int = 0
    """Moves begun since the relays were last spread."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What was before."""

    used: tuple[tuple[float, float], ...] = ()
    began: float = 0.0
    """When the first pass was."""
    wanted: tuple[tuple[float, int], ...] = ()
    capacity_units: float = _DEFAULT_CAPACITY
    silent_since: Mapping[int, float] = field(default_factory=dict[int, float])
    heard: frozenset[int] = frozenset()
    leaving: frozenset[int] = frozenset()
    """Silent since, but drained before: they were stopped on purpose and come back."""
    draining_since: Mapping[int, float] = field(default_factory=dict[int, float])
    restarted_at: Mapping[str, float] = field(default_factory=dict[str, float])
    places: Mapping[int, str] = field(default_factory=dict[int, str])
    """The node where each relay was heard last."""
    move: Move = Move()


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do now, each part empty when there is nothing. `restart`: end the pod, it comes back new."""

    wanted: int
    replicas: tuple[int, ...]
    drain: tuple[str, ...] = ()
    undrain: tuple[str, ...] = ()
    restart: tuple[str, ...] = ()
