"""The media ports of the relays, as the registry lists them.

No call's audio may be sent there: two calls that name each other's ports would send each other audio for
ever.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from sipgw.api.registry.v1 import registry_pb2 as registry
from sipgw.control import ControlError
from sipgw.rtp.source_latch import canonical_host

_PERIOD_S: Final = 5.0


class RelayPorts:
    """The last list of relays' ports. A new relay appears within one period."""

    def __init__(self, list_relays: Callable[[], Awaitable[Sequence[registry.Relay]]]) -> None:
        self._list_relays = list_relays
        self._ranges: dict[str, list[range]] = {}

    async def follow(self) -> None:
        """Ask the registry periodically, for ever."""
        while True:
            with contextlib.suppress(ControlError):
                self.take([one.registration for one in await self._list_relays()])
            await asyncio.sleep(_PERIOD_S)

    def take(self, registrations: Sequence[registry.RelayRegistration]) -> None:
        """Replace the list by that of all relays."""
        ranges: dict[str, list[range]] = {}
        for one in registrations:
            ports = range(one.rtp_first_port, one.rtp_last_port + 1)
            hosts = {one.advertised_address, one.control_address.rpartition(":")[0].strip("[]")}
            for host in hosts if one.rtp_last_port else ():
                ranges.setdefault(canonical_host(host), []).append(ports)
        self._ranges = ranges

    def has(self, host: str, port: int) -> bool:
        """Tell whether a relay may receive media at an address and port."""
        return any(port in ports for ports in self._ranges.get(host, ()))
