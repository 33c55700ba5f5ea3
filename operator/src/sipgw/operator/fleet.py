"""Inputs and outputs of `plan()`: the spec, the observed state, the memory, and the plan.

Relays are numbered: number i is ordinal i // L of lane i % L, L being the number of lanes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from sipgw.operator.spread import NodeState, numbers_of

_DEFAULT_CAPACITY: Final = 500.0


@dataclass(frozen=True, slots=True)
class SizingSpec:
    """The sizing of the SipGateway, with defaults; `lanes` is the chart's."""

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
    """A relay that sends heartbeats. `is_drain_requested`: we asked for its drain; else it ends by itself."""

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
    """Whether its CPU is exhausted by its calls."""


@dataclass(frozen=True, slots=True)
class GoneRelay:
    """A relay whose heartbeat stopped in the last minutes. `was_draining`: it was stopped on purpose."""

    node: str = ""
    was_draining: bool = False


@dataclass(frozen=True, slots=True)
class Observed:
    """The present state: requested replicas per lane, and the relays with heartbeats, by number.

    `gone`: those that the registry knows without heartbeats; `nodes`: empty when we may not read them.
    """

    replicas: tuple[int, ...]
    relays: Mapping[int, RelayState]
    gone: Mapping[int, GoneRelay] = field(default_factory=dict[int, GoneRelay])
    nodes: Mapping[str, NodeState] = field(default_factory=dict[str, NodeState])
    setups_per_s: float = 0.0
    outdated_silent: frozenset[str] = frozenset()
    """Pods of an old template whose relay sends no heartbeat, by name: they are replaced at once."""
    is_rolling: bool = False

    @property
    def numbers(self) -> frozenset[int]:
        """All numbers that are requested."""
        return numbers_of(self.replicas)


@dataclass(frozen=True, slots=True)
class Move:
    """The move of a relay off the node where all are. `relay` is empty when none is moving."""

    crowded_since: float | None = None
    relay: str = ""
    began: float = float("-inf")
    tries: int = 0
    """Moves begun since the relays were last spread."""


@dataclass(frozen=True, slots=True)
class Memory:
    """The observations of earlier passes."""

    used: tuple[tuple[float, float], ...] = ()
    began: float = 0.0
    """When the first pass ran."""
    wanted: tuple[tuple[float, int], ...] = ()
    capacity_units: float = _DEFAULT_CAPACITY
    silent_since: Mapping[int, float] = field(default_factory=dict[int, float])
    heard: frozenset[int] = frozenset()
    leaving: frozenset[int] = frozenset()
    """Relays silent since then that had drained: they were stopped on purpose and will return."""
    draining_since: Mapping[int, float] = field(default_factory=dict[int, float])
    restarted_at: Mapping[str, float] = field(default_factory=dict[str, float])
    places: Mapping[int, str] = field(default_factory=dict[int, str])
    """The last known node of each relay."""
    move: Move = Move()


@dataclass(frozen=True, slots=True)
class Plan:
    """The actions of a pass; empty parts need none. `restart`: end the pods; Kubernetes replaces them."""

    wanted: int
    replicas: tuple[int, ...]
    drain: tuple[str, ...] = ()
    undrain: tuple[str, ...] = ()
    restart: tuple[str, ...] = ()
