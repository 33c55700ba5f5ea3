"""Our custom resources as the apiserver returns them: keys, order, references."""

from collections.abc import Iterable

from sipgw.operator.resources.json_parts import Json, part

ObjectKey = tuple[str, str]
"""Kind and name."""


def key_of(body: Json) -> ObjectKey:
    """Return the key. Items of a list have no kind of their own: add it first."""
    return str(body["kind"]), str(body["metadata"]["name"])


def generation_of(body: Json) -> int:
    """Return the generation of an object; 0 without one."""
    return int(body["metadata"].get("generation") or 0)


def secrets_wanted(documents: Iterable[Json]) -> list[str]:
    """Return the names of the Secrets that trunks refer to, also of trunks with other errors."""
    names: set[str] = set()
    for body in documents:
        node = body
        for step in ("spec", "auth", "digest", "secretRef"):
            node = part(node, step)
        name: object = node.get("name")
        if isinstance(name, str) and name:
            names.add(name)
    return sorted(names)
