"""One bot endpoint ("host:port") and the pods behind it: choose a pod for a call."""

import asyncio
from collections.abc import Callable
from typing import Final

import grpc.aio

from sipgw.media_relay.bots.resolver import AddressBook, Resolve, resolve_by_system
from sipgw.media_relay.streams.errors import BotUnavailable
from sipgw.media_relay.streams.rpc import open_bot_channel
from sipgw.media_relay.streams.trunk import TrunkStream

_NO_TRUNK_S: Final = 60.0
"""How long UNIMPLEMENTED on Trunk is remembered. It is limited because a bot may be upgraded."""
_DECLARED_S: Final = 300.0
_AVOID_S: Final = 2.0
_CALLS_PER_CHANNEL: Final = 50
"""StreamCalls on one connection. Servers commonly allow 100 streams."""


class BotPod:
    """One address of a bot, with its trunk and its channels."""

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
        """Whether the pod's trunk has all the calls that the bot takes."""
        return self._trunk is not None and self._trunk.is_open and self._trunk.is_full

    def begin_call(self) -> None:
        """Count one more call on the pod."""
        self.calls += 1

    def end_call(self) -> None:
        """Count one call less on the pod."""
        self.calls -= 1

    async def trunk(self) -> TrunkStream:
        """Return the open trunk; open it if there is none, once for all callers. Raises BotUnavailable."""
        if self._trunk is not None and self._trunk.is_open:
            return self._trunk
        if self._opening is None:
            self._opening = asyncio.create_task(self._open(), name=f"trunk-open/{self.address}")
            self._opening.add_done_callback(self._opened)
        return await asyncio.shield(self._opening)

    def call_channel(self) -> grpc.aio.Channel:
        """Return a channel with room for one more StreamCall; `release_channel` gives the room back."""
        for index, (channel, calls) in enumerate(self._call_channels):
            if calls < _CALLS_PER_CHANNEL:
                self._call_channels[index] = (channel, calls + 1)
                return channel
        channel = open_bot_channel(self.address, tls_name=self._tls_name)
        self._call_channels.append((channel, 1))
        return channel

    def release_channel(self, channel: grpc.aio.Channel) -> None:
        """Give back the room on a channel that `call_channel` returned."""
        self._call_channels = [
            (known, calls - 1 if known is channel else calls) for known, calls in self._call_channels
        ]

    def avoid(self, now: float) -> None:
        """Prefer other pods for a while: this one refused or broke."""
        self.avoid_until = now + _AVOID_S

    async def aclose(self, reason: str) -> None:
        """Close the pod's trunk and channels."""
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
            opening.exception()  # retrieved, even when nobody waits for it any more


class BotEndpoint:
    """A bot's name and the pods that it resolves to."""

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
        """Return whether Trunk is worth trying."""
        return now >= self._no_trunk_until

    def note_no_trunk(self, now: float) -> None:
        """Note that the bot answered UNIMPLEMENTED to Trunk."""
        self._no_trunk_until = now + _NO_TRUNK_S

    def is_declared(self, now: float) -> bool:
        """Whether its StreamCall bots declared themselves lately: then the next declaration is awaited."""
        return now < self._declared_until

    def note_declared(self, now: float, *, declared: bool) -> None:
        """Note whether a StreamCall bot declared itself."""
        self._declared_until = now + _DECLARED_S if declared else 0.0

    async def choose(self, preferred: str, now: float) -> BotPod:
        """Choose the preferred address if it still exists and is not avoided, else the least loaded pod.

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
        """Close every pod."""
        await asyncio.gather(*(pod.aclose(reason) for pod in self._pods.values()), *self._closing)
        self._pods.clear()

    def _pod(self, address: str) -> BotPod:
        pod = self._pods.get(address)
        if pod is None:
            pod = self._pods[address] = BotPod(address, self._tls_name, self._new_trunk)
        return pod

    def _forget_gone(self, addresses: set[str]) -> None:
        """Close the pods whose address is gone from DNS, once they have no calls."""
        for address in [known for known in self._pods if known not in addresses]:
            pod = self._pods[address]
            if pod.calls == 0:
                del self._pods[address]
                closing = asyncio.create_task(pod.aclose("its address is gone"), name=f"pod-close/{address}")
                self._closing.add(closing)
                closing.add_done_callback(self._closing.discard)
