"""PodConnections: the connections to one bot pod. All streams to it share them, and the attempts to connect.

A gRPC channel keeps pauses of its own between attempts, and fails the RPCs in between. Here each attempt is a
new channel, so that the pauses are those of `RetryPace`, the same for all calls.
"""

import asyncio
from dataclasses import dataclass
from typing import Any, Final, cast

import grpc
import grpc.aio

from sipgw.media_relay.bots.retry_pace import RetryPace
from sipgw.media_relay.errors import BotUnreachable
from sipgw.media_relay.streams.rpc import open_bot_channel
from sipgw.runtime.tasks import TaskGroupOwner

_STREAMS_PER_CONNECTION: Final = 50
"""Servers commonly allow 100 streams."""
_CONNECT_TIMEOUT_S: Final = 3.0
_REASON_TIMEOUT_S: Final = 0.5
_ANY_METHOD: Final = "/grpc.health.v1.Health/Check"


@dataclass(slots=True, eq=False)
class _Connection:
    channel: grpc.aio.Channel
    streams: int = 0

    @property
    def is_up(self) -> bool:
        return self.channel.get_state() is grpc.ChannelConnectivity.READY


class PodConnections:
    """`take` a channel for each stream, and `give_back` it when the stream is over."""

    def __init__(self, address: str, tls_name: str | None) -> None:
        self._address = address
        self._tls_name = tls_name
        self._pace = RetryPace()
        self._known: list[_Connection] = []
        self._connecting: asyncio.Task[str] | None = None
        self._reason = ""
        """Why the last attempt failed."""
        self._tasks = TaskGroupOwner(f"bot/{address}")
        self._loop = asyncio.get_running_loop()

    @property
    def is_away(self) -> bool:
        """Whether the last attempt to connect failed."""
        return self._pace.is_away

    async def take(self) -> grpc.aio.Channel:
        """Return a connected channel with room for one more stream. Raises BotUnreachable.

        While a pod is away, this fails at once between two attempts to reach it.
        """
        while True:
            self._forget_lost()
            for connection in self._known:
                if connection.streams < _STREAMS_PER_CONNECTION and connection.is_up:
                    connection.streams += 1
                    return connection.channel
            await self._connect_once()

    def give_back(self, channel: grpc.aio.Channel) -> None:
        """Give back the room on a channel that `take` returned."""
        for connection in self._known:
            if connection.channel is channel:
                connection.streams -= 1
        self._forget_lost()

    async def until_reached(self) -> None:
        """Try to connect, at the pod's pace, until the pod is no longer away."""
        while self.is_away:
            await asyncio.sleep(max(0.0, self._pace.retry_at - self._loop.time()))
            try:
                await self._connect_once()
            except BotUnreachable:
                continue

    async def aclose(self) -> None:
        """Close every connection."""
        await self._tasks.aclose()
        await asyncio.gather(*(connection.channel.close() for connection in self._known))
        self._known.clear()

    async def _connect_once(self) -> None:
        """Make one more connection; one attempt serves all waiting calls. Raises BotUnreachable."""
        if self._connecting is None:
            if self._tasks.is_closed:
                raise BotUnreachable(f"the connections to {self._address} were closed")
            if self._loop.time() < self._pace.retry_at:
                raise BotUnreachable(self._reason)
            self._connecting = self._tasks.spawn(self._connect(), "connect")
            self._connecting.add_done_callback(self._connected)
        reason = await asyncio.shield(self._connecting)
        if reason:
            raise BotUnreachable(reason)

    def _connected(self, _: asyncio.Task[str]) -> None:
        self._connecting = None

    async def _connect(self) -> str:
        """Make one attempt; return why it failed, or nothing."""
        channel = open_bot_channel(self._address, tls_name=self._tls_name)
        connection = _Connection(channel)
        try:
            await _until_settled(channel)
            if connection.is_up:
                self._known.append(connection)
                self._pace.note_reached()
                return ""
            self._reason = f"bot at {self._address}: {await _reason_of(channel)}"
            self._pace.note_failed(self._loop.time())
            return self._reason
        finally:
            if connection not in self._known:
                await channel.close()

    def _forget_lost(self) -> None:
        """Close the connections that are lost, once no stream is on them."""
        lost = [known for known in self._known if not known.streams and not known.is_up]
        for connection in lost:
            self._known.remove(connection)
            if not self._tasks.is_closed:
                self._tasks.spawn(connection.channel.close(), "close")


async def _until_settled(channel: grpc.aio.Channel) -> None:
    """Have the channel connect; return when it is connected, has failed, or takes too long."""
    try:
        async with asyncio.timeout(_CONNECT_TIMEOUT_S):
            state = channel.get_state(try_to_connect=True)
            while state not in (
                grpc.ChannelConnectivity.READY,
                grpc.ChannelConnectivity.TRANSIENT_FAILURE,
                grpc.ChannelConnectivity.SHUTDOWN,
            ):
                await channel.wait_for_state_change(state)
                state = channel.get_state()
    except TimeoutError:
        return


async def _reason_of(channel: grpc.aio.Channel) -> str:
    """Return why a channel could not connect. gRPC tells the reason only to an RPC, which fails at once."""
    asking: Any = cast("Any", channel).unary_unary(_ANY_METHOD)
    try:
        await asking(b"", timeout=_REASON_TIMEOUT_S)
    except grpc.aio.AioRpcError as error:
        return f"{error.code().name}: {error.details()}"
    return "connected too late"
