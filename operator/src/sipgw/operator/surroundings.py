"""The facts about the cluster that a pass needs besides our documents: nodes and requested edges.

Nodes are large and many, so they are listed when a watch noticed a change of one, and seldom otherwise.
"""

from dataclasses import dataclass
from typing import Final

from sipgw.operator.errors import KubeForbidden
from sipgw.operator.gather import read_edges_asked, read_nodes
from sipgw.operator.kube_client import KubeClient
from sipgw.operator.resources.nodes import Node

_NODES_AGAIN_S: Final = 300.0
_EDGES_AGAIN_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Surroundings:
    """`edges_asked`: 0 when unknown. `nodes` is empty when they may not be read."""

    nodes: tuple[Node, ...] = ()
    edges_asked: int = 0


class SurroundingsReader:
    """Reads the surroundings and keeps them; call `notice_nodes` from the watch."""

    def __init__(self, client: KubeClient, namespace: str, release: str, *, with_nodes: bool) -> None:
        self._client = client
        self._namespace = namespace
        self._release = release
        self._with_nodes = with_nodes
        self._nodes: tuple[Node, ...] = ()
        self._nodes_at = float("-inf")
        self._edges_asked = 0
        self._edges_at = float("-inf")

    def notice_nodes(self) -> None:
        """Note a change of a node: list them at the next pass."""
        self._nodes_at = float("-inf")

    async def read(self, now: float) -> Surroundings:
        """Read the parts that are due. Raises KubeError."""
        if self._with_nodes and now - self._nodes_at >= _NODES_AGAIN_S:
            self._nodes_at = now  # set before the list: a change during it causes another
            try:
                self._nodes = await read_nodes(self._client)
            except BaseException:
                self._nodes_at = float("-inf")
                raise
        if now - self._edges_at >= _EDGES_AGAIN_S:
            try:
                self._edges_asked = await read_edges_asked(self._client, self._namespace, self._release)
            except KubeForbidden:
                self._edges_asked = 0  # forbidden by the Role of an older chart
            self._edges_at = now
        return Surroundings(self._nodes, self._edges_asked)
