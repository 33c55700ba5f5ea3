"""The places of relays, and the choice of the next one: spread over nodes first, then over zones. Pure.

The scheduler chooses the node and prefers those with fewer relays. But a lane's ports are free only once per
node, so a new relay of a lane never lands where that lane has one already. Choosing the lane thus keeps a new
relay off the nodes of the others, and off a node that looks dead.
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
    """Every serving relay is on one node, or in one zone, whose death would end every call.

    `has_elsewhere`: another node, or a node of another zone, could take one.
    """

    kind: Literal["node", "zone"]
    name: str
    has_elsewhere: bool


def together(places: Sequence[str], nodes: Mapping[str, NodeState]) -> Together | None:
    """Return how the relays on the nodes `places` share a node or zone; None when they don't, or unknown."""
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
    """Return the relay's number."""
    return ordinal * lanes + lane


def numbers_of(replicas: Sequence[int]) -> frozenset[int]:
    """Return the numbers that these replicas have."""
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
    """Return all of `usable` in the order of removal.

    Only the highest ordinal of a StatefulSet can be removed, so the highest of some lane goes next: by its
    rank (the highest first), then where most others are, then the highest number, which has the fewest calls.
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
    """The places of relays: those that stay, the last known node of each, and the nodes.

    `suspects`: nodes that look dead; Kubernetes takes 40 s and more to notice. `not_again`: numbers whose
    relay died; while its node is away the pod remains, and no other can have its name.
    """

    kept: frozenset[int]
    places: Mapping[int, str]
    nodes: Mapping[str, NodeState]
    suspects: frozenset[str] = frozenset()
    not_again: frozenset[int] = frozenset()


def lane_for_next(replicas: Sequence[int], site: Site) -> int:
    """Return the lane whose next relay lands well wherever it is put; by default the lowest."""
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
    """The number of relays on a node and in its zone."""

    def __init__(self, places: Iterable[str], nodes: Mapping[str, NodeState]) -> None:
        known = [place for place in places if place]
        self._nodes = nodes
        self._of_node = Counter(known)
        self._of_zone = Counter(filter(None, (_zone(place, nodes) for place in known)))

    def at(self, node: str) -> int:
        """Return the sort key of a place, nodes before zones; 0 for an unknown place."""
        return self._of_node[node] * _OF_A_NODE + self._of_zone[_zone(node, self._nodes)] if node else 0

    def leave(self, node: str) -> None:
        """Count one relay less there."""
        self._of_node[node] -= 1
        self._of_zone[_zone(node, self._nodes)] -= 1


def _zone(node: str, nodes: Mapping[str, NodeState]) -> str:
    found = nodes.get(node)
    return found.zone if found is not None else ""
