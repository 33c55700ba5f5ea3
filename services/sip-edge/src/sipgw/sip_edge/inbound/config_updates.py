"""Pass each new config to the parts that use it."""

from sipgw.api.config.v1 import config_pb2 as config
from sipgw.sip_edge.guard.stranger_guard import StrangerGuard
from sipgw.sip_edge.process import Process
from sipgw.sip_edge.sip.dialogs import LocalContact


class ConfigUpdates:
    """Takes the configs of the registry."""

    def __init__(self, process: Process, local: LocalContact, guard: StrangerGuard) -> None:
        self._settings = process.settings
        self._gateway = process.gateway
        self._local = local
        self._guard = guard

    def take(self, gateway: config.GatewayConfig) -> None:
        """Use a newer config from now on."""
        addresses = gateway.gateway.advertised_addresses
        self._local.take_host(addresses.get(self._settings.node) or self._settings.advertise_host)
        self._gateway.take(gateway)
        self._guard.take_config(gateway)
