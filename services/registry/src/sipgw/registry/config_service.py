"""ConfigService: the gateway config over gRPC."""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import grpc
import grpc.aio

from sipgw.api.registry.v1 import registry_pb2 as pb
from sipgw.api.registry.v1.registry_pb2_grpc import ConfigServiceServicer
from sipgw.registry.config_store import ConfigStore
from sipgw.registry.errors import ConfigVersionConflict
from sipgw.runtime.tls import require_role
from sipgw.store import StoreUnavailable

if TYPE_CHECKING:
    from sipgw.api.config.v1.config_pb2 import GatewayConfig

CONFIG_SERVICE = "sipgw.api.registry.v1.ConfigService"


class ConfigService(ConfigServiceServicer):
    """Serves a ConfigStore."""

    def __init__(self, configs: ConfigStore) -> None:
        self._configs = configs

    async def GetConfig(
        self,
        request: pb.GetConfigRequest,
        context: "grpc.aio.ServicerContext[pb.GetConfigRequest, pb.GetConfigResponse]",
    ) -> pb.GetConfigResponse:
        """Return the config in Redis; the last one seen while Redis is away. NOT_FOUND without any."""
        try:
            await self._configs.refresh()
        except StoreUnavailable as error:
            if self._configs.config is None:
                await context.abort(grpc.StatusCode.UNAVAILABLE, str(error))
        if self._configs.config is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, "there is no config yet")
        return pb.GetConfigResponse(config=self._configs.config)

    async def PutConfig(
        self,
        request: pb.PutConfigRequest,
        context: "grpc.aio.ServicerContext[pb.PutConfigRequest, pb.PutConfigResponse]",
    ) -> pb.PutConfigResponse:
        """Put a config in force; FAILED_PRECONDITION when another version is."""
        await require_role(context, "operator")
        try:
            config = await self._configs.put(request.config, request.expected_version)
        except ConfigVersionConflict as error:
            await context.abort(error.code, str(error))
        except StoreUnavailable as error:
            await context.abort(grpc.StatusCode.UNAVAILABLE, str(error))
        return pb.PutConfigResponse(epoch=config.epoch, version=config.version)

    async def WatchConfig(
        self,
        request: pb.WatchConfigRequest,
        context: "grpc.aio.ServicerContext[pb.WatchConfigRequest, pb.WatchConfigResponse]",
    ) -> AsyncIterator[pb.WatchConfigResponse]:
        """Yield the config in force at once, then each newer one; configs replaced meanwhile are skipped."""
        # tells the watcher that it is attached, even without a config
        await context.send_initial_metadata(())
        seen: GatewayConfig | None = None
        while True:
            seen = await self._configs.newer_than(seen)
            yield pb.WatchConfigResponse(config=seen)
