"""A channel with changing credentials: gRPC's Python clients can't reload theirs, so it makes new channels.

Each call begins on the channel of the newest certificates. Calls in progress stay on theirs, which closes
when the last of them has ended (a call holds its channel, and nobody else does).
"""

import weakref
from collections.abc import Callable
from typing import Any

import grpc
import grpc.aio

from sipgw.runtime.tls import TlsMaterial


class RotatingChannel(grpc.aio.Channel):
    """A channel that looks to its stubs like a single one."""

    def __init__(
        self, material: Callable[[], TlsMaterial], open_with: Callable[[TlsMaterial], grpc.aio.Channel]
    ) -> None:
        self._material = material
        self._open_with = open_with
        self._made_with = material()
        self._channel = open_with(self._made_with)
        self._all: weakref.WeakSet[grpc.aio.Channel] = weakref.WeakSet([self._channel])
        self._callables: dict[_Method, Any] = {}

    def current(self) -> grpc.aio.Channel:
        """Return the channel for a new call."""
        material = self._material()
        if material is not self._made_with:
            self._made_with = material
            self._callables.clear()
            self._channel = self._open_with(material)
            self._all.add(self._channel)
        return self._channel

    def callable_of(self, method: "_Method") -> Any:
        """Return the multicallable, made once for each method and channel."""
        channel = self.current()
        made = self._callables.get(method)
        if made is None:
            made = self._callables[method] = method.made_on(channel)
        return made

    async def __aenter__(self) -> "RotatingChannel":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self, grace: float | None = None) -> None:
        """Close this channel and those that still have calls."""
        for channel in list(self._all):
            await channel.close(grace)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:  # noqa: FBT001, FBT002 - grpc's
        """Return the present channel's state."""
        return self.current().get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Wait for the present channel's next state."""
        await self.current().wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """Wait until the present channel is ready."""
        await self.current().channel_ready()

    def unary_unary(self, *args: Any, **kwargs: Any) -> Any:
        """Return a method of this kind."""
        return _Method(self, "unary_unary", args, kwargs)

    def unary_stream(self, *args: Any, **kwargs: Any) -> Any:
        """Return a method of this kind."""
        return _Method(self, "unary_stream", args, kwargs)

    def stream_unary(self, *args: Any, **kwargs: Any) -> Any:
        """Return a method of this kind."""
        return _Method(self, "stream_unary", args, kwargs)

    def stream_stream(self, *args: Any, **kwargs: Any) -> Any:
        """Return a method of this kind."""
        return _Method(self, "stream_stream", args, kwargs)


class _Method:
    """A method of a stub; it calls the present channel's multicallable."""

    def __init__(
        self, owner: RotatingChannel, kind: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        self._owner = owner
        self._kind = kind
        self._args = args
        self._kwargs = kwargs

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._owner.callable_of(self)(*args, **kwargs)

    def made_on(self, channel: grpc.aio.Channel) -> Any:
        """Return the multicallable of `channel`."""
        return getattr(channel, self._kind)(*self._args, **self._kwargs)
