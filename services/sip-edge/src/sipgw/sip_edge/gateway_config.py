"""The config in force, as the registry last sent it."""

import asyncio
from typing import Final

from sipgw.api.config.v1 import config_pb2 as config
from sipgw.runtime.telemetry.logs import get_logger
from sipgw.sdp import PCMA, PCMU, CodecCapability, MediaCapabilities
from sipgw.sip_edge import metrics

_log = get_logger("sipgw.sip_edge.config")
CODECS: Final[dict[int, CodecCapability]] = {config.AUDIO_CODEC_PCMU: PCMU, config.AUDIO_CODEC_PCMA: PCMA}
_DEFAULT_PTIME_MS: Final = 20


def capabilities_of(gateway: config.GatewayConfig | None) -> MediaCapabilities:
    """Give the codecs that the config allows, the preferred one first.

    If it names none, give all that we support.
    """
    settings = gateway.gateway if gateway is not None else config.GatewaySettings()
    codecs = tuple(CODECS[codec] for codec in settings.codecs if codec in CODECS)
    return MediaCapabilities(codecs=codecs or (PCMU, PCMA), ptime_ms=settings.ptime_ms or _DEFAULT_PTIME_MS)


class ConfigHolder:
    """The config in force. Until the registry has sent one, new calls get 503."""

    def __init__(self) -> None:
        self.current: config.GatewayConfig | None = None
        self.capabilities: MediaCapabilities = capabilities_of(None)
        self.taken = asyncio.Event()
        self._routes: dict[str, config.Route] = {}
        self._trunks: dict[str, config.Trunk] = {}

    def take(self, gateway: config.GatewayConfig) -> None:
        """Put a newer config into force."""
        self.current = gateway
        self.taken.set()
        metrics.CONFIG_VERSION.set(gateway.version)
        self.capabilities = capabilities_of(gateway)
        self._routes = {route.name: route for route in gateway.routes}
        self._trunks = {trunk.name: trunk for trunk in gateway.trunks}
        _log.info("config_taken", epoch=gateway.epoch, version=gateway.version, routes=len(gateway.routes))

    def route(self, name: str) -> config.Route | None:
        """Give the route of a call; None if the config no longer has it."""
        return self._routes.get(name)

    def trunk(self, name: str) -> config.Trunk | None:
        """Give the trunk of a call; None if the call has none, or the config no longer has it."""
        return self._trunks.get(name)

    @property
    def max_call_ms(self) -> int:
        """The longest duration of a call after its answer; 0: no limit."""
        return self.current.gateway.max_call_seconds * 1000 if self.current is not None else 0

    @property
    def max_calls(self) -> int:
        """How many concurrent calls the gateway takes; 0: no limit."""
        return self.current.gateway.max_calls if self.current is not None else 0

    @property
    def recording_directory(self) -> str:
        """The directory in which relays record; empty: they do not record."""
        return self.current.gateway.recording_directory if self.current is not None else ""
