"""The store: commands and scripts on Redis, each bounded to one second, and the state kept beside them.

A `Store` opens even when Redis is away: a keeper task goes on trying, learns Redis time and its epoch, and
publishes the shared secrets. The random `sipgw:epoch` key reveals a Redis that lost data. It names the server
run that holds it, so that a failover or a restart counts as a possible loss too.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final, Self

from sipgw.store.client import Links, Requests, connect_links
from sipgw.store.driver import NoScriptError, RedisError, ResponseError
from sipgw.store.errors import StoreProtocolError, StoreUnavailable
from sipgw.store.keeper import Keeper
from sipgw.store.link import LinkLost
from sipgw.store.scripts import Script

COMMAND_TIMEOUT_S: Final = 1.0
_AWAY_REPLIES: Final = (
    "LOADING",
    "READONLY",
    "MASTERDOWN",
    "CLUSTERDOWN",
    "TRYAGAIN",
    "OOM",
    "BUSY",
    "MISCONF",
    "NOREPLICAS",
)

Argument = str | bytes | int | float
"""An argument of a command; text is sent as UTF-8."""


class Store:
    """Redis from a URL. Made by `Store.connect`; one per process."""

    def __init__(self, links: Links) -> None:
        self._links = links
        self._keeper = Keeper(self, is_cluster=links.is_cluster)

    @classmethod
    async def connect(cls, url: str) -> Self:
        """Open the store, whether or not Redis answers (see `is_reachable`). Raises StoreUrlError."""
        store = cls(connect_links(url))
        await store._keeper.start()
        return store

    async def aclose(self) -> None:
        """Stop the keeper and close every connection."""
        await self._keeper.aclose()
        await self._links.aclose()

    @property
    def is_cluster(self) -> bool:
        """Whether this is a Cluster, where a command may name keys of one hash tag only."""
        return self._links.is_cluster

    @property
    def is_reachable(self) -> bool:
        """Whether the last probe (two a second) was answered."""
        return self._keeper.is_reachable

    @property
    def epoch(self) -> str | None:
        """The epoch last seen; None until Redis first answered."""
        return self._keeper.epoch

    @property
    def round_trip_s(self) -> float:
        """The round trip of the last probe; 0 before the first."""
        return self._keeper.round_trip_s

    def on_epoch_change(self, callback: Callable[[str], None]) -> Callable[[], None]:
        """Call `callback(epoch)` in the event loop when Redis may have lost data; return an unsubscriber.

        The first epoch that a process learns is no change.
        """
        return self._keeper.subscribe(callback)

    def now_ms(self) -> int:
        """Return Redis time by our monotonic clock and the offset of the last probe, without a round trip."""
        return self._keeper.now_ms()

    async def redis_time_ms(self) -> int:
        """Ask for Redis time, in milliseconds since the Unix epoch."""
        seconds, micros = await self.command("TIME")
        return int(seconds) * 1000 + int(micros) // 1000

    async def shared_secret(self, name: str) -> bytes:
        """Return 32 random bytes that every process of this gateway gets for `name`.

        The first process that asks draws them. They are kept in Redis and in memory, and published again
        after data loss. After the first answer this never waits. Raises StoreUnavailable only before that.
        """
        return await self._keeper.shared_secret(name)

    async def command(self, *args: Argument) -> Any:
        """Run one command and return its reply as Redis sends it (bytes, int, list, None).

        Raises StoreUnavailable, StoreProtocolError.
        """
        return await self._request(self._links.commands, args, COMMAND_TIMEOUT_S)

    async def blocking_command(self, *args: Argument, block_s: float) -> Any:
        """Run a command that waits up to `block_s` by itself, one at a time on a connection of its own.

        Raises StoreUnavailable, StoreProtocolError.
        """
        return await self._request(self._links.blocking, args, COMMAND_TIMEOUT_S + block_s)

    async def run(self, script: Script, keys: Sequence[str], args: Sequence[Argument] = ()) -> Any:
        """Run `script` in one EVALSHA round trip, once more with the source when Redis does not have it.

        Raises StoreUnavailable, StoreProtocolError.
        """
        deadline = asyncio.get_running_loop().time() + COMMAND_TIMEOUT_S
        try:
            return await self._evaluate(script, keys, args, deadline)
        except _ConnectionLost:
            if not script.is_repeatable:
                raise
            return await self._evaluate(script, keys, args, deadline)

    async def _evaluate(
        self, script: Script, keys: Sequence[str], args: Sequence[Argument], deadline: float
    ) -> Any:
        loop, links = asyncio.get_running_loop(), self._links.commands
        arguments = (len(keys), *keys, *args)
        try:
            return await self._request(links, ("EVALSHA", script.sha, *arguments), deadline - loop.time())
        except NoScriptError:
            return await self._request(links, ("EVAL", script.source, *arguments), deadline - loop.time())

    async def _request(self, link: Requests, args: tuple[Argument, ...], timeout_s: float) -> Any:
        try:
            return await link.request(args, timeout_s)
        except NoScriptError:
            raise
        except ResponseError as error:
            if not str(error).startswith(_AWAY_REPLIES):
                raise StoreProtocolError(f"{args[0]}: {error}") from error
            link.reset()
            raise StoreUnavailable(str(error)) from error
        except TimeoutError as error:
            raise StoreUnavailable("Redis did not answer in time") from error
        except (LinkLost, RedisError, OSError) as error:
            raise _ConnectionLost(f"Redis is away: {error}") from error


class _ConnectionLost(StoreUnavailable):
    """The connection broke under a command, or there is none."""
