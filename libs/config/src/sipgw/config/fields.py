"""The models' fields as data: the values that each takes, in words, for messages and the reference."""

import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin

import annotated_types
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from sipgw.config.document import Allowed

Model = type[BaseModel]
Location = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """A field with a value; ``default`` is "" for a required one."""

    path: str
    allowed: str
    default: str
    meaning: str


def field_specs(model: Model, prefix: str = "") -> Iterator[FieldSpec]:
    """Yield all fields below a model, in the order of the model; ``[]`` stands for a member of a list."""
    for name, info in fields_of(model).items():
        path = f"{prefix}{name}"
        inner, many = _inner_model(info.annotation)
        if inner is None or many or info.description:
            yield FieldSpec(
                path, describe(info.annotation, info.metadata), _default(info), info.description or ""
            )
        if inner is not None:
            yield from field_specs(inner, f"{path}{'[]' if many else ''}.")


def fields_of(model: Model) -> dict[str, FieldInfo]:
    """Return the fields by the name that documents use."""
    return {info.alias or name: info for name, info in model.model_fields.items()}


def field_at(model: Model, location: Location) -> tuple[Any, list[Any]] | None:
    """Return annotation and metadata of the field at a location; None where the models have none."""
    annotation: Any = model
    metadata: list[Any] = []
    for step in location:
        annotation, metadata = _unwrap(annotation, metadata)
        origin, arguments = get_origin(annotation), get_args(annotation)
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            info = fields_of(annotation).get(str(step))
            if info is None:
                return None
            annotation, metadata = info.annotation, info.metadata
        elif origin is list:
            annotation, metadata = arguments[0], []
        elif origin is dict:
            annotation, metadata = arguments[1], []
        else:
            return None
    return _unwrap(annotation, metadata)


def model_at(model: Model, location: Location) -> Model | None:
    """Return the model at a location, if there is one."""
    found = field_at(model, location)
    if found and isinstance(found[0], type) and issubclass(found[0], BaseModel):
        return found[0]
    return None


def describe(annotation: Any, metadata: list[Any]) -> str:
    """Describe in words which values a field takes."""
    annotation, metadata = _unwrap(annotation, metadata)
    for entry in metadata:
        if isinstance(entry, Allowed):
            return entry.words
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return ", ".join(str(value) for value in arguments)
    if origin is list:
        return f"a list of{_size(metadata)}: {describe(arguments[0], [])}"
    if origin is dict:
        return f"a map of{_size(metadata)}: {describe(arguments[1], [])}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return f"fields {', '.join(fields_of(annotation))}"
    return _describe_scalar(annotation, metadata)


def _describe_scalar(annotation: Any, metadata: list[Any]) -> str:
    least = _bound(metadata, "ge")
    most = _bound(metadata, "le")
    if annotation is bool:
        return "true or false"
    if annotation is int:
        return f"a whole number from {least} to {most}"
    longest = _bound(metadata, "max_length")
    return f"text of at most {longest} characters" if longest is not None else "text"


def _size(metadata: list[Any]) -> str:
    least, most = _bound(metadata, "min_length"), _bound(metadata, "max_length")
    return f" {least} to {most}" if least else f" at most {most}"


def _bound(metadata: list[Any], name: str) -> int | None:
    for entry in metadata:
        if name in ("min_length", "max_length") and isinstance(entry, annotated_types.Len):
            return cast("int | None", getattr(entry, name))
        if hasattr(entry, name):
            return cast("int | None", getattr(entry, name))
    return None


def _unwrap(annotation: Any, metadata: list[Any]) -> tuple[Any, list[Any]]:
    """Strip Annotated and ``X | None``; return the type and the metadata found."""
    while True:
        origin, arguments = get_origin(annotation), get_args(annotation)
        if origin is Annotated:
            annotation, metadata = arguments[0], [*metadata, *_flat(arguments[1:])]
        elif origin in (Union, types.UnionType):
            annotation = next(one for one in arguments if one is not type(None))
        else:
            return annotation, metadata


def _flat(metadata: tuple[Any, ...]) -> Iterator[Any]:
    for entry in metadata:
        if isinstance(entry, FieldInfo):
            yield from entry.metadata
        else:
            yield entry


def _inner_model(annotation: Any) -> tuple[Model | None, bool]:
    """Return the model that a field holds, and whether it holds a list of them."""
    annotation, _ = _unwrap(annotation, [])
    many = get_origin(annotation) is list
    if many:
        annotation, _ = _unwrap(get_args(annotation)[0], [])
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, many
    return None, many


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return ""
    value = info.get_default(call_default_factory=True, validated_data={})
    if value is None or value is PydanticUndefined:
        return "none"
    return words_of(value)


def words_of(value: object) -> str:
    """Return a value as YAML's flow style writes it."""
    match value:
        case bool():
            return str(value).lower()
        case str():
            return value or '""'
        case list():
            return f"[{', '.join(words_of(one) for one in cast('list[object]', value))}]"
        case Mapping():
            return "{}"
        case BaseModel():
            return "its own"
        case _:
            return str(value)
