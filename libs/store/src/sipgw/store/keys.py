"""Names of keys. A partition's keys share its hash tag, so that a script over them works in a Cluster.

SIP text is never part of a key: partitions are taken from call ids, which are hexadecimal.
"""

from typing import Final

PARTITIONS: Final = 64
"""Never change this: the place of every stored record depends on it."""

EPOCH_KEY: Final = "sipgw:epoch"
CONFIG_KEY: Final = "sipgw:config"


def partition_of(call_id: str) -> int:
    """Return the partition of a call: the first byte of its id, modulo 64.

    Raises ValueError on anything but hex digits.
    """
    return int(call_id[:2], 16) % PARTITIONS


def partition_key(partition: int, *parts: str) -> str:
    """Return a key of one partition: `sipgw:{p07}:...`."""
    return f"sipgw:{{p{partition:02d}}}:{':'.join(parts)}"


def relays_key(*parts: str) -> str:
    """Return a key of relay placement, all of which is in one slot."""
    return f"sipgw:{{relays}}:{':'.join(parts)}"


def edges_key(*parts: str) -> str:
    """Return a key of the edges' leases."""
    return f"sipgw:{{edges}}:{':'.join(parts)}"


def secret_key(name: str) -> str:
    """Return the key of a shared secret."""
    return f"sipgw:secret:{name}"
