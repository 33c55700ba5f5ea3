"""One bot endpoint ("host:port") and the pods behind it: which pod a call goes to, what is known of them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from sipgw.media_relay.bots.resolver import AddressBook, Resolve, resolve_by_system
from sipgw.media_relay.streams.errors import BotUnavailable
from sipgw.media_relay.streams.rpc import open_bot_channel

if TYPE_CHECKING:
    from collections.abc import Callable

    import grpc.aio

    from sipgw.media_relay.streams.trunk import TrunkStream

_NO_TRUNK_S: Final = 60.0
"""How long UNIMPLEMENTED is remembered: a bot may be upgraded."""
_DECLARED_S: Final = 300.0
_AVOID_S: Final = 2.0
_CALLS_PER_CHANNEL: Final = 50
"""StreamCalls on one connection; servers commonly allow 100 streams."""


class BotPod:
    """One address. Holds its trunk and its channels."""

    def __init__(self, address: str, tls_name: str | None, new_trunk: Callable[[str], TrunkStream]) -> None:
        self.address = address
        self.calls = 0
        self.avoid_until = 0.0
        self._tls_name = tls_name
        self._new_trunk = new_trunk
        self._trunk: TrunkStream | None = None
        self._opening: asyncio.Task[TrunkStream] | None = None
        self._trunk_channel: grpc.aio.Channel | None = None
        self._call_channels: list[tuple[grpc.aio.Channel, int]] = []

    @property
    def is_full(self) -> bool:
        return self._trunk is not None and self._trunk.is_open and self._trunk.is_full

    async def trunk(self) -> TrunkStream:
        """The open trunk; opened when there is none, once for all who ask. Raises BotUnavailable."""
        if self._trunk is not None and self._trunk.is_open:
            return self._trunk
        if self._opening is None:
            self._opening = asyncio.create_task(self._open(), name=f"trunk-open/{self.address}")
            self._opening.add_done_callback(self._opened)
        return await asyncio.shield(self._opening)

    def call_channel(self) -> grpc.aio.Channel:
        """A channel with room for one more StreamCall; `release_channel` gives the place back."""
        for index, (channel, calls) in enumerate(self._call_channels):
            if calls < _CALLS_PER_CHANNEL:
                self._call_channels[index] = (channel, calls + 1)
                return channel
        channel = open_bot_channel(self.address, tls_name=self._tls_name)
        self._call_channels.append((channel, 1))
        return channel

    def release_channel(self, channel: grpc.aio.Channel) -> None:
        self._call_channels = [
            (known, calls - 1 if known is channel else calls) for known, calls in self._call_channels
        ]

    def avoid(self, now: float) -> None:
        """It refused or broke: others first, for a while."""
        self.avoid_until = now + _AVOID_S

    async def aclose(self, reason: str) -> None:
        if self._opening is not None:
            self._opening.cancel()
        if self._trunk is not None:
            await self._trunk.aclose(reason)
        channels = [channel for channel, _ in self._call_channels]
        if self._trunk_channel is not None:
            channels.append(self._trunk_channel)
        await asyncio.gather(*(channel.close() for channel in channels))

    async def _open(self) -> TrunkStream:
        if self._trunk_channel is None:
            self._trunk_channel = open_bot_channel(self.address, tls_name=self._tls_name)
        trunk = self._new_trunk(self.address)
        await trunk.open(self._trunk_channel)
        self._trunk = trunk
        return trunk

    def _opened(self, opening: asyncio.Task[TrunkStream]) -> None:
        self._opening = None
        if not opening.cancelled():
            opening.exception()  # seen, even when nobody waits any more


class BotEndpoint:
    """A name and its pods."""

    def __init__(
        self,
        endpoint: str,
        *,
        tls: bool,
        new_trunk: Callable[[str], TrunkStream],
        resolve: Resolve = resolve_by_system,
    ) -> None:
        self._book = AddressBook(endpoint, resolve)
        self._tls_name = self._book.host if tls else None
        self._new_trunk = new_trunk
        self._pods: dict[str, BotPod] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._no_trunk_until = 0.0
        self._declared_until = 0.0

    def may_have_trunk(self, now: float) -> bool:
        return now >= self._no_trunk_until

    def note_no_trunk(self, now: float) -> None:
        self._no_trunk_until = now + _NO_TRUNK_S

    def is_declared(self, now: float) -> bool:
        """Whether its StreamCall bots lately declared themselves: then the next one is waited for."""
        return now < self._declared_until

    def note_declared(self, now: float, *, declared: bool) -> None:
        self._declared_until = now + _DECLARED_S if declared else 0.0

    async def choose(self, preferred: str, now: float) -> BotPod:
        """The preferred address if it is still one of them and not avoided, else the least loaded.

        Raises BotUnavailable.
        """
        addresses = await self._book.addresses()
        pods = [self._pod(address) for address in addresses]
        self._forget_gone(set(addresses))
        free = [pod for pod in pods if not pod.is_full]
        if not free:
            raise BotUnavailable("every pod of the bot has as many calls as it takes")
        willing = [pod for pod in free if pod.avoid_until <= now] or free
        for pod in willing:
            if pod.address == preferred:
                return pod
        return min(willing, key=lambda pod: pod.calls)

    async def aclose(self, reason: str) -> None:
        await asyncio.gather(*(pod.aclose(reason) for pod in self._pods.values()), *self._closing)
        self._pods.clear()

    def _pod(self, address: str) -> BotPod:
        pod = self._pods.get(address)
        if pod is None:
            pod = self._pods[address] = BotPod(address, self._tls_name, self._new_trunk)
        return pod

    def _forget_gone(self, addresses: set[str]) -> None:
        """Pods whose record is gone keep their calls; with none left they are closed."""
        for address in [known for known in self._pods if known not in addresses]:
            pod = self._pods[address]
            if pod.calls == 0:
                del self._pods[address]
                closing = asyncio.create_task(pod.aclose("its address is gone"), name=f"pod-close/{address}")
                self._closing.add(closing)
                closing.add_done_callback(self._closing.discard)
