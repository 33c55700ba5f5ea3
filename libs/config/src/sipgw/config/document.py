"""The base of every kind of document: strict models, our own validation errors, rules for the apiserver."""

from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

API_VERSION = "sipgw.io/v1alpha1"
VALIDATIONS = "x-kubernetes-validations"


@dataclass(frozen=True, slots=True)
class Allowed:
    """The values that a field takes, in words, where type and bounds don't say it."""

    words: str


@dataclass(frozen=True, slots=True)
class Rule:
    """A CEL check for the apiserver at `kubectl apply`, the twin of a check made here in Python.

    ``message`` says what is allowed. It stands in the Annotated of a value, or in ``rules`` for a model.
    """

    cel: str
    message: str

    def as_schema(self) -> dict[str, str]:
        """Return the rule as a CRD writes it."""
        return {"rule": self.cel, "message": f"allowed: {self.message}"}

    def __get_pydantic_json_schema__(
        self, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        schema = handler(core_schema)
        schema.setdefault(VALIDATIONS, []).append(self.as_schema())
        return schema


@dataclass(frozen=True, slots=True)
class KubernetesProperty:
    """An ``x-kubernetes-...`` property of a field's schema, such as ``list-type: set``."""

    name: str
    value: str | tuple[str, ...]

    def __get_pydantic_json_schema__(
        self, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        schema = handler(core_schema)
        schema[f"x-kubernetes-{self.name}"] = self.value if isinstance(self.value, str) else [*self.value]
        return schema


def rules(*checks: Rule) -> ConfigDict:
    """Return the ``model_config`` of a model whose fields depend on each other."""
    extra: dict[str, Any] = {VALIDATIONS: [check.as_schema() for check in checks]}
    return ConfigDict(json_schema_extra=extra)


class Document(BaseModel):
    """A part of a document. Unknown fields and wrong types are errors; names are camelCase."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, alias_generator=to_camel)


def refuse(found: str, allowed: str) -> PydanticCustomError:
    """Return the error of one of our own checks; explain.py reads both texts."""
    return PydanticCustomError(
        "refused", "found {found}; allowed: {allowed}", {"found": found, "allowed": allowed}
    )


Name: TypeAlias = Annotated[
    str,
    Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"),
    Allowed("lower-case letters, digits and '-', at most 63, first and last no '-'"),
]


class Metadata(BaseModel):
    """The fields of a document's metadata that we use; the rest belongs to Kubernetes."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)

    name: Name = Field(description="Names the document; unique within its kind.")
