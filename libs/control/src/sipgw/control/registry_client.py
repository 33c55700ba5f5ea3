"""The client of registry/v1: the call map, placement and the gateway config."""

from collections.abc import AsyncIterator, Sequence

import grpc

from sipgw.api.config.v1.config_pb2 import GatewayConfig
from sipgw.api.registry.v1 import registry_pb2 as pb
from sipgw.api.registry.v1.registry_pb2_grpc import (
    CallRegistryServiceStub,
    ConfigServiceStub,
    RelayRegistrationServiceStub,
)
from sipgw.control.errors import ConfigConflict, RegistryRefused
from sipgw.control.placements import PlacementStream
from sipgw.control.unary import ask_registry
from sipgw.control.watches import CallsChanged, ConfigFollower, ConfigHandler, watch_calls
from sipgw.runtime.grpc_channel import REGISTRY_KEEPALIVE_S, open_channel
from sipgw.runtime.tls import TlsDirectory

_TIMEOUT_S = 2.0
_LIST_TIMEOUT_S = 10.0


class RegistryClient:
    """A client of any replica. Methods raise RegistryUnreachable, RegistryRefused or the errors they name."""

    def __init__(self, target: str, *, tls: TlsDirectory | None = None, deadline_s: float = 1.0) -> None:
        """Take `target`, one "host:port" or several with commas between.

        `deadline_s` is the deadline of placement commands.
        """
        self.target = target
        self._channel = open_channel(target, role="registry", tls=tls, keepalive_s=REGISTRY_KEEPALIVE_S)
        self._calls = CallRegistryServiceStub(self._channel)
        self._relays = RelayRegistrationServiceStub(self._channel)
        self._configs = ConfigServiceStub(self._channel)
        self._placements = PlacementStream(target, tls=tls, deadline_s=deadline_s)

    async def aclose(self) -> None:
        """Close streams and channel."""
        await self._placements.aclose()
        await self._channel.close()

    async def get_call(self, call_id: str) -> pb.CallSummary | None:
        """Return the call, or None."""
        try:
            answer = await ask_registry(
                self._calls.GetCall(pb.GetCallRequest(call_id=call_id), timeout=_TIMEOUT_S)
            )
        except RegistryRefused as error:
            if error.code is grpc.StatusCode.NOT_FOUND:
                return None
            raise
        return answer.call

    async def list_calls(self, *, include_ended: bool = False) -> list[pb.CallSummary]:
        """Return the live calls, and on demand those that ended a short while ago."""
        request = pb.ListCallsRequest(include_ended=include_ended)
        return list((await ask_registry(self._calls.ListCalls(request, timeout=_LIST_TIMEOUT_S))).calls)

    def watch_calls(self) -> AsyncIterator[CallsChanged]:
        """Yield all calls, then each change, for ever; reconnect after breaks."""
        return watch_calls(self._channel)

    async def count_calls(self, *, except_owner: str = "") -> pb.CountCallsResponse:
        """Return how many calls live, by route and by relay.

        `elsewhere` without those of an edge's incarnation.
        """
        request = pb.CountCallsRequest(except_owner=except_owner)
        return await ask_registry(self._calls.CountCalls(request, timeout=_TIMEOUT_S))

    async def list_edges(self) -> list[pb.Edge]:
        """Return the edges that hold a lease."""
        return list(
            (await ask_registry(self._calls.ListEdges(pb.ListEdgesRequest(), timeout=_TIMEOUT_S))).edges
        )

    async def hangup_call(self, call_id: str, reason: str = "") -> bool:
        """Ask the owner edge to end the call; return False when there is no such call."""
        request = pb.HangupCallRequest(call_id=call_id, reason=reason)
        try:
            await ask_registry(self._calls.HangupCall(request, timeout=2 * _TIMEOUT_S))
        except RegistryRefused as error:
            if error.code is grpc.StatusCode.NOT_FOUND:
                return False
            raise
        return True

    async def list_bans(self) -> pb.ListBansResponse:
        """Return the sources that edges refuse to serve, and the edges that gave no answer."""
        return await ask_registry(self._calls.ListBans(pb.ListBansRequest(), timeout=_TIMEOUT_S))

    async def lift_ban(self, source: str) -> pb.LiftBanResponse | None:
        """Lift the ban of a source at all edges; return None when none bans it.

        RegistryRefused: no valid source.
        """
        request = pb.LiftBanRequest(source=source)
        try:
            return await ask_registry(self._calls.LiftBan(request, timeout=_TIMEOUT_S))
        except RegistryRefused as error:
            if error.code is grpc.StatusCode.NOT_FOUND:
                return None
            raise

    async def place(self, call_id: str, cost_units: int, avoid: Sequence[str] = ()) -> pb.Placement:
        """Return a relay with room, held for the call, and none of the incarnations in `avoid`.

        Raises NoPlacement.
        """
        return await self._placements.reserve(call_id, cost_units, avoid)

    async def confirm_placement(self, call_id: str, relay_incarnation: str) -> None:
        """Confirm that the relay has the session. Raises NoPlacement when the reservation is gone."""
        await self._placements.confirm(call_id, relay_incarnation)

    async def release_placement(self, call_id: str, relay_incarnation: str) -> None:
        """Free the room; without a reservation this does nothing."""
        await self._placements.release(call_id, relay_incarnation)

    async def follow_config(self, on_config: ConfigHandler) -> None:
        """Call `on_config` (it may be async) with each newer config, for ever. Run it as a task."""
        await ConfigFollower(on_config).run(self._channel)

    async def get_config(self) -> GatewayConfig | None:
        """Return the config in force; None when none was ever put."""
        try:
            answer = await ask_registry(self._configs.GetConfig(pb.GetConfigRequest(), timeout=_TIMEOUT_S))
        except RegistryRefused as error:
            if error.code is grpc.StatusCode.NOT_FOUND:
                return None
            raise
        return answer.config if answer.HasField("config") else None

    async def put_config(self, config: GatewayConfig, expected_version: int) -> tuple[str, int]:
        """Put `config` in force and return its (epoch, version).

        Raises ConfigConflict when another came first.
        """
        request = pb.PutConfigRequest(config=config, expected_version=expected_version)
        try:
            answer = await ask_registry(self._configs.PutConfig(request, timeout=_TIMEOUT_S))
        except RegistryRefused as error:
            if error.code is grpc.StatusCode.FAILED_PRECONDITION:
                raise ConfigConflict(error.code, str(error)) from None
            raise
        return answer.epoch, answer.version

    async def list_relays(self) -> list[pb.Relay]:
        """Return all relays that the registry knows."""
        return list(
            (await ask_registry(self._relays.ListRelays(pb.ListRelaysRequest(), timeout=_TIMEOUT_S))).relays
        )

    async def drain_relay(self, name: str, *, drain: bool = True) -> None:
        """Give that relay no new calls; `drain=False` takes it back."""
        request = pb.DrainRelayRequest(name=name, drain=drain)
        await ask_registry(self._relays.DrainRelay(request, timeout=_TIMEOUT_S))
