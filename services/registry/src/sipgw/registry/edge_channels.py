"""EdgeChannels: the edges that hold a lease, and channels to those in use."""

import grpc.aio

from sipgw.calls import EdgeLease, EdgeLeases
from sipgw.runtime.grpc_channel import open_channel
from sipgw.runtime.tls import TlsDirectory


class EdgeChannels:
    """Call `live` first: the next `of` closes the channels of edges that are gone."""

    def __init__(self, leases: EdgeLeases, *, tls: TlsDirectory | None = None) -> None:
        self._leases = leases
        self._tls = tls
        self._live: set[str] = set()
        self._channels: dict[str, grpc.aio.Channel] = {}

    async def live(self) -> list[EdgeLease]:
        """Return the edges that hold a lease. Raises StoreUnavailable."""
        leases = await self._leases.live()
        self._live = {lease.grpc_address for lease in leases}
        return leases

    async def of(self, lease: EdgeLease) -> grpc.aio.Channel:
        """Return the channel to an edge."""
        for gone in [known for known in self._channels if known not in self._live]:
            await self._channels.pop(gone).close()
        address = lease.grpc_address
        if address not in self._channels:
            self._channels[address] = open_channel(address, role="edge", tls=self._tls)
        return self._channels[address]

    async def aclose(self) -> None:
        """Close all channels."""
        for channel in self._channels.values():
            await channel.close()
        self._channels.clear()
