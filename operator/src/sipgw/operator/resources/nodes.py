"""Nodes: the addresses that peers may be told."""

from collections.abc import Iterable

from sipgw.operator.resources.json_parts import Json, part, parts

_TYPES = {"HostIP": "InternalIP", "ExternalIP": "ExternalIP"}


def advertised_addresses(nodes: Iterable[Json], policy: str) -> dict[str, str]:
    """Node to address by the policy. A node without such an address is left out: its pods keep their own."""
    found: dict[str, str] = {}
    for node in nodes:
        addresses = addresses_of(node)
        if (address := addresses.get(_TYPES[policy])) is not None:
            found[str(node["metadata"]["name"])] = address
    return found


def addresses_of(node: Json) -> dict[str, str]:
    """Type to address; of several of a type the first."""
    listed = parts(part(node, "status"), "addresses")
    return {str(one["type"]): str(one["address"]) for one in reversed(listed)}
