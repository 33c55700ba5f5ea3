"""Watches on the registry that survive its restarts: the gateway config and the calls."""

import asyncio
import functools
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import grpc
import grpc.aio

from sipgw.api.config.v1.config_pb2 import GatewayConfig
from sipgw.api.registry.v1 import registry_pb2 as pb
from sipgw.api.registry.v1.registry_pb2_grpc import CallRegistryServiceStub, ConfigServiceStub
from sipgw.control.reconnect import is_of_age, keep_connected, reason_of
from sipgw.runtime.telemetry.logs import get_logger

ConfigHandler = Callable[[GatewayConfig], Awaitable[None] | None]

_LIST_TIMEOUT_S = 10.0
_PAUSE_S = 0.5
_log = get_logger("sipgw.control")


class ConfigFollower:
    """Calls `on_config` with each newer config; `config` keeps the last one while the registry is away."""

    def __init__(self, on_config: ConfigHandler) -> None:
        self.config: GatewayConfig | None = None
        self._on_config = on_config

    async def run(self, channel: grpc.aio.Channel) -> None:
        """Follow for ever."""
        await keep_connected("config", functools.partial(self._session, channel), lambda _: None)

    async def _session(self, channel: grpc.aio.Channel, established: Callable[[], None]) -> None:
        async for response in ConfigServiceStub(channel).WatchConfig(pb.WatchConfigRequest()):
            established()
            await self._take(response.config)

    async def _take(self, config: GatewayConfig) -> None:
        """Take a config unless an older one of this epoch: it comes from a replica that lags."""
        last = self.config
        if last is not None and last.epoch == config.epoch and last.version >= config.version:
            return
        self.config = config
        try:
            done = self._on_config(config)
            if inspect.isawaitable(done):
                await done
        except Exception:
            _log.exception("config_refused", epoch=config.epoch, version=config.version)


@dataclass(frozen=True, slots=True)
class CallsChanged:
    """A change of the call map.

    With `is_snapshot` these are all the calls; else the changed ones, of which an ended one has state ENDED.
    """

    calls: tuple[pb.CallSummary, ...]
    is_snapshot: bool


async def watch_calls(channel: grpc.aio.Channel) -> AsyncIterator[CallsChanged]:
    """Yield all calls, then each change, for ever; list again when the registry demands it or was away."""
    stub = CallRegistryServiceStub(channel)
    version = ""
    while True:
        try:
            if not version:
                listed = await stub.ListCalls(pb.ListCallsRequest(), timeout=_LIST_TIMEOUT_S)
                version = listed.resource_version
                yield CallsChanged(tuple(listed.calls), is_snapshot=True)
            async for response in stub.WatchCalls(pb.WatchCallsRequest(resource_version=version)):
                version = response.resource_version
                yield CallsChanged(tuple(response.changed), is_snapshot=False)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.OUT_OF_RANGE:
                version = ""
                continue
            if is_of_age(error):
                _log.info("stream_renewed", stream="calls", reason=reason_of(error))
                continue
            _log.warning("stream_broken", stream="calls", reason=reason_of(error))
        await asyncio.sleep(_PAUSE_S)
