"""Our custom resources as the apiserver gives them: keys, order, what they refer to."""

from collections.abc import Iterable

from sipgw.operator.resources.json_parts import Json, part

ObjectKey = tuple[str, str]
"""Kind and name."""


def key_of(body: Json) -> ObjectKey:
    """Items of a list have no kind of their own: add it first."""
    return str(body["kind"]), str(body["metadata"]["name"])


def generation_of(body: Json) -> int:
    return int(body["metadata"].get("generation") or 0)


def secrets_wanted(documents: Iterable[Json]) -> list[str]:
    """Names of the Secrets that trunks refer to, also of trunks that are wrong otherwise."""
    names: set[str] = set()
    for body in documents:
        node = body
        for step in ("spec", "auth", "digest", "secretRef"):
            node = part(node, step)
        name: object = node.get("name")
        if isinstance(name, str) and name:
            names.add(name)
    return sorted(names)
