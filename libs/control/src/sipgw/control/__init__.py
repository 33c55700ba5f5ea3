"""Clients of the registry, relay and edge APIs: they reconnect, keep deadlines and name their failures."""

from sipgw.control.edge_client import EdgeClient
from sipgw.control.errors import (
    ConfigConflict,
    ControlError,
    EdgeUnreachable,
    NoPlacement,
    RegistryRefused,
    RegistryUnreachable,
    RelayRefused,
    RelayUnreachable,
    Unreachable,
)
from sipgw.control.registry_client import RegistryClient
from sipgw.control.relay_heartbeat import Beat, RelayHeartbeat
from sipgw.control.relay_link import RelayLink
from sipgw.control.watches import CallsChanged

__all__ = [
    "Beat",
    "CallsChanged",
    "ConfigConflict",
    "ControlError",
    "EdgeClient",
    "EdgeUnreachable",
    "NoPlacement",
    "RegistryClient",
    "RegistryRefused",
    "RegistryUnreachable",
    "RelayHeartbeat",
    "RelayLink",
    "RelayRefused",
    "RelayUnreachable",
    "Unreachable",
]
