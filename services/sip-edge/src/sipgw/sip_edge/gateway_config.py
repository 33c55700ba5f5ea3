"""The config in force, as this edge last heard it."""

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
    """What the config lets us carry, best first; everything we can when it says nothing."""
    settings = gateway.gateway if gateway is not None else config.GatewaySettings()
    codecs = tuple(CODECS[codec] for codec in settings.codecs if codec in CODECS)
    return MediaCapabilities(codecs=codecs or (PCMU, PCMA), ptime_ms=settings.ptime_ms or _DEFAULT_PTIME_MS)


class ConfigHolder:
    """Empty until the registry has given one: new calls get 503 till then."""

    def __init__(self) -> None:
        self.current: config.GatewayConfig | None = None
        self.capabilities: MediaCapabilities = capabilities_of(None)
        self.taken = asyncio.Event()
        self._routes: dict[str, config.Route] = {}
        self._trunks: dict[str, config.Trunk] = {}

    def take(self, gateway: config.GatewayConfig) -> None:
        """A newer config."""
        self.current = gateway
        self.taken.set()
        metrics.CONFIG_VERSION.set(gateway.version)
        self.capabilities = capabilities_of(gateway)
        self._routes = {route.name: route for route in gateway.routes}
        self._trunks = {trunk.name: trunk for trunk in gateway.trunks}
        _log.info("config_taken", epoch=gateway.epoch, version=gateway.version, routes=len(gateway.routes))

    def route(self, name: str) -> config.Route | None:
        """The route of a call; None when it is in the config no longer."""
        return self._routes.get(name)

    def trunk(self, name: str) -> config.Trunk | None:
        """The trunk of a call; None when it has none, or it is in the config no longer."""
        return self._trunks.get(name)

    @property
    def max_call_ms(self) -> int:
        """Longest a call may last after its answer; 0 means no limit."""
        return self.current.gateway.max_call_seconds * 1000 if self.current is not None else 0

    @property
    def max_calls(self) -> int:
        """How many calls the gateway takes; 0 means no limit."""
        return self.current.gateway.max_calls if self.current is not None else 0

    @property
    def recording_directory(self) -> str:
        """Where relays record; empty: nowhere."""
        return self.current.gateway.recording_directory if self.current is not None else ""
