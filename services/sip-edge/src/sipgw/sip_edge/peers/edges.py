"""The other edges that are alive, by their leases, and a client for each."""

from sipgw.calls import EdgeLease
from sipgw.control import EdgeClient
from sipgw.runtime.settings import Identity
from sipgw.runtime.tls import TlsDirectory


class Edges:
    """The live edges other than this one, kept current by the watch of leases."""

    def __init__(self, me: Identity, *, tls: TlsDirectory | None = None) -> None:
        self._me = me
        self._tls = tls
        self._clients: dict[Identity, EdgeClient] = {}
        self._closing: list[EdgeClient] = []
        self._is_known = False

    @property
    def is_known(self) -> bool:
        """Tell whether Redis has had a lease of this edge."""
        return self._is_known

    @property
    def live(self) -> list[Identity]:
        """The other edges whose lease stands."""
        return list(self._clients)

    def client(self, edge: Identity) -> EdgeClient | None:
        """Give the client of a live edge; None if it is gone."""
        return self._clients.get(edge)

    def named(self, branch_name: str | None) -> EdgeClient | None:
        """Give the client of the live edge with that name."""
        return next((c for identity, c in self._clients.items() if identity.name == branch_name), None)

    def note(self, leases: list[EdgeLease]) -> None:
        """Replace the live edges by those with these leases."""
        self._is_known = True
        found = {lease.identity: lease.grpc_address for lease in leases if lease.identity != self._me}
        for identity in [identity for identity in self._clients if identity not in found]:
            self._closing.append(self._clients.pop(identity))
        for identity, address in found.items():
            if identity not in self._clients:
                self._clients[identity] = EdgeClient(address, tls=self._tls)

    def forget(self, edge: Identity) -> None:
        """Forget an edge whose lease has lapsed."""
        client = self._clients.pop(edge, None)
        if client is not None:
            self._closing.append(client)

    async def close_gone(self) -> None:
        """Close the channels to edges that are gone."""
        closing, self._closing = self._closing, []
        for client in closing:
            await client.aclose()

    async def aclose(self) -> None:
        """Close all channels."""
        self._closing += self._clients.values()
        self._clients.clear()
        await self.close_gone()
