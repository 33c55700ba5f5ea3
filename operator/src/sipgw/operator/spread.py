"""Where relays sit, and what that means for the choice of the next: over nodes first, then over zones. Pure.

The operator chooses no node: the scheduler does, which prefers nodes with fewer relays. But a lane's ports
are free once on a node, so a new relay of a lane never lands where that lane has one already. Choosing the
lane therefore keeps a new relay off the nodes where the others are, and off a node that looks dead.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

_NOWHERE: Final = 1 << 40
_DEAD: Final = 1 << 20
_OF_A_NODE: Final = 1 << 10


@dataclass(frozen=True, slots=True)
class NodeState:
    """A node of the cluster. `takes_relays`: it is ready, and nothing keeps new relays off it."""

    zone: str = ""
    takes_relays: bool = True


@dataclass(frozen=True, slots=True)
class Together:
    """Every relay that serves is on one node, or in one zone; its death would end every call.

    `has_elsewhere`: another node, or a node of another zone, could take one.
    """

    kind: Literal["node", "zone"]
    name: str
    has_elsewhere: bool


def together(places: Sequence[str], nodes: Mapping[str, NodeState]) -> Together | None:
    """How the relays on the nodes `places` share one fate; None when they do not, or nobody knows."""
    if len(places) < 2 or "" in places:
        return None
    present = set(places)
    if len(present) == 1:
        (node,) = present
        return Together("node", node, any(name != node and one.takes_relays for name, one in nodes.items()))
    zones = {_zone(name, nodes) for name in present}
    others = {one.zone for one in nodes.values() if one.takes_relays and one.zone} - zones
    if len(zones) == 1 and others and (zone := next(iter(zones))):
        return Together("zone", zone, has_elsewhere=True)
    return None


def number_of(lane: int, ordinal: int, lanes: int) -> int:
    """The relay's number."""
    return ordinal * lanes + lane


def numbers_of(replicas: Sequence[int]) -> frozenset[int]:
    """The numbers that these replicas have."""
    lanes = len(replicas)
    return frozenset(
        number_of(lane, ordinal, lanes) for lane, count in enumerate(replicas) for ordinal in range(count)
    )


def first_to_go(
    usable: Collection[int],
    lanes: int,
    places: Mapping[int, str],
    nodes: Mapping[str, NodeState],
    ranks: Mapping[int, int],
) -> list[int]:
    """All of `usable` in the order in which they may go.

    Of a StatefulSet only the highest ordinal can be taken away, so the highest of some lane goes next: by its
    rank (the highest first), then where most others are, then the highest number: it has the fewest calls.
    """
    stacks = [sorted(n for n in usable if n % lanes == lane) for lane in range(lanes)]
    crowd = _Crowd((places.get(n, "") for n in usable), nodes)
    order: list[int] = []
    while tops := [stack[-1] for stack in stacks if stack]:
        chosen = max(tops, key=lambda n: (ranks.get(n, 0), crowd.at(places.get(n, "")), n))
        stacks[chosen % lanes].pop()
        crowd.leave(places.get(chosen, ""))
        order.append(chosen)
    return order


@dataclass(frozen=True, slots=True)
class Site:
    """Where relays are: those that stay, where each was heard last, and the nodes.

    `suspects`: nodes that look dead; Kubernetes takes 40 s and more to see it. `not_again`: numbers whose
    relay died; while its node is away the pod is not gone, and no other comes under its name.
    """

    kept: frozenset[int]
    places: Mapping[int, str]
    nodes: Mapping[str, NodeState]
    suspects: frozenset[str] = frozenset()
    not_again: frozenset[int] = frozenset()


def lane_for_next(replicas: Sequence[int], site: Site) -> int:
    """The lane whose next relay lands well wherever it is put; without a reason that of the lowest number."""
    lanes = len(replicas)
    crowd = _Crowd((site.places.get(n, "") for n in site.kept), site.nodes)
    free = {name for name, node in site.nodes.items() if node.takes_relays}

    def worst(lane: int) -> int:
        held = [site.places.get(number_of(lane, i, lanes), "") for i in range(replicas[lane])]
        allowed = free - set(held)
        if number_of(lane, replicas[lane], lanes) in site.not_again:
            return 2 * _NOWHERE
        if not free:
            return 0
        if len(allowed) <= held.count(""):
            return _NOWHERE
        return max(crowd.at(node) + (_DEAD if node in site.suspects else 0) for node in allowed)

    return min(range(lanes), key=lambda lane: (worst(lane), number_of(lane, replicas[lane], lanes)))


class _Crowd:
    """How many relays a node and its zone have."""

    def __init__(self, places: Iterable[str], nodes: Mapping[str, NodeState]) -> None:
        known = [place for place in places if place]
        self._nodes = nodes
        self._of_node = Counter(known)
        self._of_zone = Counter(filter(None, (_zone(place, nodes) for place in known)))

    def at(self, node: str) -> int:
        """Nodes before zones; 0 for a place that nobody knows."""
        return self._of_node[node] * _OF_A_NODE + self._of_zone[_zone(node, self._nodes)] if node else 0

    def leave(self, node: str) -> None:
        """One relay less there."""
        self._of_node[node] -= 1
        self._of_zone[_zone(node, self._nodes)] -= 1


def _zone(node: str, nodes: Mapping[str, NodeState]) -> str:
    found = nodes.get(node)
    return found.zone if found is not None else ""
