"""Safe access to parts of an object that may be missing, null, or of another type."""

from collections.abc import Mapping
from typing import Any, cast

Json = dict[str, Any]


def part(body: Mapping[str, Any] | None, name: str) -> Json:
    """Return the object at `name`; an empty one when there is none."""
    value: object = body.get(name) if body is not None else None
    return cast("Json", value) if isinstance(value, dict) else {}


def parts(body: Mapping[str, Any], name: str) -> list[Json]:
    """Return the list of objects at `name`; an empty one when there is none."""
    value: object = body.get(name)
    return cast("list[Json]", value) if isinstance(value, list) else []
