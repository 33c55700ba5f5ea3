"""The CRDs, generated from the models: structural schemas, bounds, defaults, CEL rules, status, columns.

``python -m sipgw.config.crds DIRECTORY`` writes a file for each kind (`make crds`); with ``--check`` it
reports which differ.
"""

import copy
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from sipgw.config.document import API_VERSION, VALIDATIONS
from sipgw.config.models import KINDS
from sipgw.config.status import STATUSES

Schema = dict[str, Any]

GROUP, VERSION = API_VERSION.split("/")
CATEGORY = "sipgw"  # `kubectl get sipgw` lists all kinds
_HEADER = "# Written by `make crds` from libs/config; edit the models there.\n"
_DROPPED = frozenset({"title", "propertyNames", "$defs"})


@dataclass(frozen=True, slots=True)
class Column:
    """A column of `kubectl get`; ``is_wide`` shows it only with `-o wide`."""

    name: str
    json_path: str
    type: str = "string"
    is_wide: bool = False

    def as_schema(self) -> Schema:
        """Return the column as a CRD writes it."""
        wide = {"priority": 1} if self.is_wide else {}
        return {"name": self.name, "type": self.type, "jsonPath": self.json_path, **wide}


def _condition(type_: str, *, is_wide: bool = False) -> Column:
    return Column(type_, f'.status.conditions[?(@.type=="{type_}")].status', is_wide=is_wide)


_AGE = Column("Age", ".metadata.creationTimestamp", "date")
_WHY = Column("Message", '.status.conditions[?(@.type=="Accepted")].message', is_wide=True)
_COLUMNS: dict[str, tuple[Column, ...]] = {
    "SipGateway": (
        Column("Relays", ".status.relays.ready", "integer"),
        Column("Wanted", ".status.relays.wanted", "integer"),
        Column("Edges", ".status.edges", "integer"),
        Column("Calls", ".status.calls", "integer"),
        _condition("Ready"),
        _condition("Accepted", is_wide=True),
        _WHY,
        _AGE,
    ),
    "SipTrunk": (
        Column("Auth", ".status.auth"),
        _condition("Accepted"),
        Column("Calls", ".status.callsNow", "integer"),
        _condition("Programmed", is_wide=True),
        _WHY,
        _AGE,
    ),
    "BotRoute": (
        Column("Match", ".status.match"),
        Column("Bot", ".status.bot"),
        _condition("Ready"),
        Column("Calls", ".status.callsNow", "integer"),
        Column("Priority", ".spec.priority", "integer", is_wide=True),
        _condition("Accepted", is_wide=True),
        _WHY,
        _AGE,
    ),
}
_SHORT_NAMES = {"SipGateway": "sgw", "SipTrunk": "trunk", "BotRoute": "broute"}


def custom_resource_definition(kind: str) -> Schema:
    """Return the CustomResourceDefinition of a kind, as plain values."""
    singular = kind.lower()
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{singular}s.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind,
                "listKind": f"{kind}List",
                "singular": singular,
                "plural": f"{singular}s",
                "shortNames": [_SHORT_NAMES[kind]],
                "categories": [CATEGORY],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [column.as_schema() for column in _COLUMNS[kind]],
                    "schema": {"openAPIV3Schema": _document_schema(kind)},
                }
            ],
        },
    }


def crd_files() -> dict[str, str]:
    """Return the YAML text of each CRD by file name."""
    return {
        f"{kind.lower()}s.yaml": _HEADER
        + yaml.safe_dump(custom_resource_definition(kind), sort_keys=False, width=110, allow_unicode=True)
        for kind in KINDS
    }


def _document_schema(kind: str) -> Schema:
    whole = structural_schema(KINDS[kind])
    name = whole["properties"]["metadata"]["properties"]["name"]
    del name["description"]  # the apiserver allows no description of metadata
    properties: Schema = {
        # The apiserver checks these two by itself.
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"type": "object", "properties": {"name": name}},
        "spec": whole["properties"]["spec"],
        "status": structural_schema(STATUSES[kind]),
    }
    required = [field for field in whole["required"] if field == "spec"]
    return {
        "description": whole["description"],
        "type": "object",
        "properties": properties,
        **({"required": required} if required else {}),
    }


def structural_schema(model: type[BaseModel]) -> Schema:
    """Convert a model's JSON schema to what Kubernetes allows.

    No references, unions or titles; defaults stand at each level.
    """
    schema = model.model_json_schema(by_alias=True)
    return _structural(schema, schema.get("$defs", {}))


def _structural(schema: Schema, definitions: Schema) -> Schema:
    if "$ref" in schema:
        target = definitions[str(schema["$ref"]).rpartition("/")[2]]
        schema = {**target, **{key: value for key, value in schema.items() if key != "$ref"}}
    if "anyOf" in schema:  # None: without it| X | None: an absent field
        (inner,) = (one for one in schema["anyOf"] if one.get("type") != "null")
        outer = {key: value for key, value in schema.items() if key != "anyOf"}
        return _structural({**inner, **outer}, definitions)
    result = {key: value for key, value in schema.items() if key not in _DROPPED}
    if "const" in result:
        result["enum"] = [result.pop("const")]
    if "properties" in result:
        result["properties"] = {
            name: _structural(one, definitions) for name, one in result["properties"].items()
        }
    if "items" in result:
        result["items"] = _structural(result["items"], definitions)
    if isinstance(result.get("additionalProperties"), dict):
        result["additionalProperties"] = _structural(result["additionalProperties"], definitions)
    else:
        result.pop("additionalProperties", None)  # strict decoding refuses unknown fields
    return _with_own_default(result)


def _with_own_default(schema: Schema) -> Schema:
    """Add an empty default to a part, since each of its fields has its own default.

    The apiserver checks a part's rules against its default as it stands: a part with rules needs its whole
    default. A part that may be absent needs none.
    """
    if "default" not in schema:
        return schema
    default = schema.pop("default")
    if default is not None and "properties" in schema:
        schema["default"] = _defaults_of(schema) if VALIDATIONS in schema else {}
    elif default not in (None, [], {}):
        schema["default"] = default
    return schema


def _defaults_of(schema: Schema) -> Schema:
    parts = schema["properties"].items()
    return {name: copy.deepcopy(one["default"]) for name, one in parts if "default" in one}


def main(arguments: list[str]) -> int:
    """Write the files, or compare them with --check; return 1 when one differs."""
    directory = Path(next(one for one in arguments if not one.startswith("--")))
    files = crd_files()
    if "--check" in arguments:
        stale = [name for name, text in files.items() if _text_of(directory / name) != text]
        for name in stale:
            sys.stderr.write(f"{directory / name} is not what the models say; run `make crds`\n")
        return 1 if stale else 0
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (directory / name).write_text(text, "utf-8")
    return 0


def _text_of(path: Path) -> str:
    return path.read_text("utf-8") if path.exists() else ""


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
