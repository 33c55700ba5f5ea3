"""Registrar: register the relay with the registry, and follow the config's part for relays.

The advertised address is that of the flags unless the config has one for this node: the operator knows
external addresses, the pod does not. New sessions use the new address; the control address stays.
"""

import asyncio
import contextlib
import ipaddress
import platform
from collections.abc import Sequence
from typing import Final, Protocol

from sipgw.api.calls.v1 import session_pb2
from sipgw.api.config.v1 import config_pb2
from sipgw.api.registry.v1 import registry_pb2
from sipgw.control import Beat, RegistryClient, RelayHeartbeat
from sipgw.media_relay.settings import RelaySettings
from sipgw.runtime.settings import HostPort, Identity
from sipgw.runtime.tasks import TaskGroupOwner
from sipgw.runtime.telemetry.logs import get_logger

_FIRST_CONFIG_S: Final = 2.0
"""How long to wait for the first config, so that the first call already has the right address."""
_log = get_logger("sipgw.media_relay.registrar")


class RegisteredRelay(Protocol):
    """The relay, as the registrar sees it."""

    @property
    def identity(self) -> Identity:
        """The relay's name and incarnation."""
        ...

    @property
    def capacity_units(self) -> int:
        """The cost units that placement may use."""
        ...

    def beat(self) -> Beat:
        """Return the content of the next heartbeat."""
        ...

    def set_draining(self, drain: bool) -> None:  # noqa: FBT001 - RelayHeartbeat's callback
        """Begin or stop giving calls away."""
        ...

    def advertise(self, address: str) -> None:
        """Tell this address to new calls."""
        ...

    def follow(self, gateway: config_pb2.GatewaySettings) -> None:
        """Apply the config's settings of the gateway."""
        ...


class Registrar:
    """Registers, beats and follows the config, while the task `run` runs."""

    def __init__(
        self, relay: RegisteredRelay, settings: RelaySettings, control_port: int, warnings: Sequence[str] = ()
    ) -> None:
        self._relay = relay
        self._settings = settings
        self._registration = _registration(relay, settings, control_port, warnings)
        self._has_config = asyncio.Event()
        self._tasks = TaskGroupOwner("registrar")
        endpoints = settings.endpoints
        self._heartbeat = RelayHeartbeat(
            endpoints.registry, self._registration, relay.beat, relay.set_draining, tls=endpoints.tls
        )

    @property
    def was_registered(self) -> bool:
        """Whether the registry has known this relay."""
        return self._heartbeat.was_registered

    def beat_now(self) -> None:
        """Send a heartbeat now, after a change that placement should know."""
        self._heartbeat.beat_now()

    async def run(self) -> None:
        """Follow the config and send heartbeats, for ever."""
        client = RegistryClient(self._settings.endpoints.registry, tls=self._settings.endpoints.tls)
        try:
            self._tasks.spawn(client.follow_config(self._take), "config")
            if self._settings.identity.node:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_FIRST_CONFIG_S):
                        await self._has_config.wait()
            await self._heartbeat.run()
        finally:
            await self._tasks.aclose()
            await client.aclose()

    def _take(self, config: config_pb2.GatewayConfig) -> None:
        self._relay.follow(config.gateway)
        node = self._settings.identity.node
        address = config.gateway.advertised_addresses.get(node) or self._settings.rtp.advertise
        self._has_config.set()
        if address == self._registration.advertised_address:
            return
        if not _is_address(address):
            _log.error("advertised_address_refused", node=node, address=address)
            return
        _log.info("advertised_address_changed", address=address)
        self._relay.advertise(address)
        registration = registry_pb2.RelayRegistration()
        registration.CopyFrom(self._registration)
        registration.advertised_address = address
        self._registration = registration
        self._heartbeat.register_again(registration)


def _registration(
    relay: RegisteredRelay, settings: RelaySettings, control_port: int, warnings: Sequence[str]
) -> registry_pb2.RelayRegistration:
    me, place, rtp = relay.identity, settings.identity, settings.rtp
    return registry_pb2.RelayRegistration(
        relay=session_pb2.ProcessIdentity(name=me.name, incarnation=me.incarnation),
        control_address=_control_address(settings, control_port),
        advertised_address=rtp.advertise,
        ordinal=place.ordinal,
        lane=place.lane,
        revision=place.revision,
        capacity_units=relay.capacity_units,
        codecs=[config_pb2.AUDIO_CODEC_PCMU, config_pb2.AUDIO_CODEC_PCMA],
        node=place.node or platform.node(),
        warnings=warnings,
        rtp_first_port=rtp.first_port,
        rtp_last_port=rtp.last_port,
    )


def _control_address(settings: RelaySettings, port: int) -> str:
    """Return the address that edges connect to.

    That is the listening host, or the advertised address if the relay listens on any.
    """
    host = HostPort.parse(settings.endpoints.listen).host
    return str(HostPort(settings.rtp.advertise if host in ("0.0.0.0", "::") else host, port))


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
