"""One bot endpoint ("host:port") and the pods behind it: choose a pod for a call."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from sipgw.media_relay.bots.connections import PodConnections
from sipgw.media_relay.bots.resolver import FRESH_S, AddressBook, Resolve, resolve_by_system
from sipgw.media_relay.errors import BotUnavailable
from sipgw.media_relay.streams.trunk import TrunkStream

if TYPE_CHECKING:
    import grpc.aio

_NO_TRUNK_S: Final = 60.0
"""How long UNIMPLEMENTED on Trunk is remembered. It is limited because a bot may be upgraded."""
_DECLARED_S: Final = 300.0
_AVOID_S: Final = 2.0
_LOOK_AGAIN_S: Final = 0.5
"""While all pods are away, the name is looked up again at this interval."""


class BotPod:
    """One address of a bot, with its trunk and its connections."""

    def __init__(self, address: str, tls_name: str | None, new_trunk: Callable[[str], TrunkStream]) -> None:
        self.address = address
        self.calls = 0
        self.avoid_until = 0.0
        self.connections = PodConnections(address, tls_name)
        self._new_trunk = new_trunk
        self._trunk: TrunkStream | None = None
        self._trunk_channel: grpc.aio.Channel | None = None
        self._opening: asyncio.Task[TrunkStream] | None = None

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

    def avoid(self, now: float) -> None:
        """Prefer other pods for a while: this one refused or broke."""
        self.avoid_until = now + _AVOID_S

    async def aclose(self, reason: str) -> None:
        """Close the pod's trunk and connections."""
        if self._opening is not None:
            self._opening.cancel()
        if self._trunk is not None:
            await self._trunk.aclose(reason)
        await self.connections.aclose()

    async def _open(self) -> TrunkStream:
        earlier, self._trunk_channel = self._trunk_channel, None
        if earlier is not None:
            self.connections.give_back(earlier)
        channel = await self.connections.take()
        trunk = self._new_trunk(self.address)
        try:
            await trunk.open(channel)
        except BaseException:
            self.connections.give_back(channel)
            raise
        self._trunk, self._trunk_channel = trunk, channel
        return trunk

    def _opened(self, opening: asyncio.Task[TrunkStream]) -> None:
        self._opening = None
        if not opening.cancelled():
            opening.exception()  # retrieve the error, even if no call waits any more


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
        self._reaching: asyncio.Task[None] | None = None
        self._waiting = 0
        """The number of calls that wait for `_reaching`."""
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
        free = [pod for pod in await self._present(FRESH_S) if not pod.is_full]
        if not free:
            raise BotUnavailable("every pod of the bot has as many calls as it takes")
        willing = [pod for pod in free if pod.avoid_until <= now] or free
        reachable = [pod for pod in willing if not pod.connections.is_away] or willing
        for pod in reachable:
            if pod.address == preferred:
                return pod
        return min(reachable, key=lambda pod: pod.calls)

    async def until_reachable(self) -> None:
        """Wait until a pod can be reached. One task tries that for all calls, and ends with their waiting."""
        reaching = self._reaching
        if reaching is None:
            reaching = asyncio.create_task(self._reach(), name=f"reach/{self._book.host}")
            reaching.add_done_callback(self._reached)
            self._reaching = reaching
        self._waiting += 1
        try:
            await asyncio.shield(reaching)
        finally:
            self._waiting -= 1
            if not self._waiting:
                reaching.cancel()

    async def aclose(self, reason: str) -> None:
        """Close every pod."""
        if self._reaching is not None:
            self._reaching.cancel()
        await asyncio.gather(*(pod.aclose(reason) for pod in self._pods.values()), *self._closing)
        self._pods.clear()

    async def _present(self, fresh_s: float) -> list[BotPod]:
        """Return the pods of all addresses of the name, looked up lately. Raises BotUnavailable."""
        addresses = await self._book.addresses(fresh_s)
        pods = [self._pod(address) for address in addresses]
        self._forget_gone(set(addresses))
        return pods

    async def _reach(self) -> None:
        while True:
            pods = await self._present(_LOOK_AGAIN_S)
            reaching = [asyncio.create_task(pod.connections.until_reached()) for pod in pods]
            try:
                done, _ = await asyncio.wait(
                    reaching, timeout=_LOOK_AGAIN_S, return_when=asyncio.FIRST_COMPLETED
                )
            finally:
                for task in reaching:
                    task.cancel()
            if done:
                return

    def _reached(self, reaching: asyncio.Task[None]) -> None:
        self._reaching = None
        if not reaching.cancelled():
            reaching.exception()  # retrieve the error, even if no call waits any more

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
