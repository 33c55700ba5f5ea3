"""Redis from a URL: partitions, scripts, Redis time, the epoch, shared secrets.

This is the only package that imports `redis`.
"""

from sipgw.store.address import without_password
from sipgw.store.errors import StoreError, StoreProtocolError, StoreUnavailable, StoreUrlError
from sipgw.store.keys import (
    CONFIG_KEY,
    EPOCH_KEY,
    PARTITIONS,
    edges_key,
    partition_key,
    partition_of,
    relays_key,
    secret_key,
)
from sipgw.store.scripts import Script
from sipgw.store.store import COMMAND_TIMEOUT_S, Argument, Store

__all__ = [
    "COMMAND_TIMEOUT_S",
    "CONFIG_KEY",
    "EPOCH_KEY",
    "PARTITIONS",
    "Argument",
    "Script",
    "Store",
    "StoreError",
    "StoreProtocolError",
    "StoreUnavailable",
    "StoreUrlError",
    "edges_key",
    "partition_key",
    "partition_of",
    "relays_key",
    "secret_key",
    "without_password",
]
