"""The CRDs match the models and are structural; e2e/cluster applies them to a real apiserver."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import AfterValidator, BaseModel

from sipgw.config.crds import crd_files, custom_resource_definition, main
from sipgw.config.fields import field_at, fields_of
from sipgw.config.models import KINDS

FILES = Path(__file__).parents[3] / "charts" / "sipgw" / "files" / "crds"


def schema_of(kind: str) -> dict[str, Any]:
    (version,) = custom_resource_definition(kind)["spec"]["versions"]
    return version["schema"]["openAPIV3Schema"]


def parts(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, one in schema.get("properties", {}).items():
        yield from parts(one, f"{path}.{name}".lstrip("."))
    if "items" in schema:
        yield from parts(schema["items"], f"{path}[]")
    if "additionalProperties" in schema:
        yield from parts(schema["additionalProperties"], f"{path}{{}}")


def part(kind: str, path: str) -> dict[str, Any]:
    return dict(parts(schema_of(kind)))[path]


def test_the_charts_files_are_what_the_models_say():
    assert {path.name: path.read_text("utf-8") for path in FILES.glob("*.yaml")} == crd_files()


def test_a_file_that_differs_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main([str(tmp_path / "crds")]) == 0
    assert main(["--check", str(tmp_path / "crds")]) == 0
    (tmp_path / "crds" / "botroutes.yaml").write_text("", "utf-8")
    (tmp_path / "crds" / "siptrunks.yaml").unlink()
    assert main(["--check", str(tmp_path / "crds")]) == 1
    said = capsys.readouterr().err
    assert "botroutes.yaml" in said
    assert "siptrunks.yaml" in said


@pytest.mark.parametrize("kind", list(KINDS))
def test_schemas_are_structural(kind: str):
    text = crd_files()[f"{kind.lower()}s.yaml"]
    for word in ("$ref", "anyOf", "oneOf", "allOf", "title:", "additionalProperties: false", "const:"):
        assert word not in text
    for path, one in parts(schema_of(kind)):
        assert "type" in one, path


@pytest.mark.parametrize("kind", list(KINDS))
def test_every_value_has_bounds(kind: str):
    for path, one in parts(schema_of(kind)):
        if path in ("apiVersion", "kind") or "enum" in one:
            continue
        match one["type"]:
            case "string":
                assert "maxLength" in one, path
            case "array":
                assert "maxItems" in one, path
            case "integer":
                assert {"minimum", "maximum"} <= set(one), path
            case "object" if "additionalProperties" in one:
                assert "maxProperties" in one, path


@pytest.mark.parametrize("kind", list(KINDS))
def test_every_field_of_a_spec_says_what_it_is(kind: str):
    for path, one in parts(schema_of(kind)):
        if (
            path
            and not path.startswith(("metadata", "apiVersion", "kind"))
            and not path.endswith(("[]", "{}"))
        ):
            assert one.get("description"), path


@pytest.mark.parametrize("kind", list(KINDS))
def test_defaults_are_those_of_the_models(kind: str):
    """The apiserver fills in fields that a document leaves out; its defaults have to equal the models'."""

    def filled(schema: dict[str, Any]) -> Any:
        value: dict[str, Any] = {}
        for name, one in schema.get("properties", {}).items():
            if "default" in one:
                value[name] = filled(one) if "properties" in one else one["default"]
        return value

    spec = {"bots": [{"endpoint": "b:1"}]} if kind == "BotRoute" else {}
    bare = {"apiVersion": "sipgw.io/v1alpha1", "kind": kind, "metadata": {"name": "a"}, "spec": spec}
    by_apiserver = {**bare, "spec": {**filled(schema_of(kind)["properties"]["spec"]), **spec}}
    assert KINDS[kind].model_validate(by_apiserver) == KINDS[kind].model_validate(bare)
    assert kind == "SipTrunk" or by_apiserver["spec"] != spec


def test_status_is_a_subresource_with_conditions_by_type():
    for kind in KINDS:
        (version,) = custom_resource_definition(kind)["spec"]["versions"]
        assert version["subresources"] == {"status": {}}
        conditions = part(kind, "status.conditions")
        assert (conditions["x-kubernetes-list-type"], conditions["x-kubernetes-list-map-keys"]) == (
            "map",
            ["type"],
        )
        assert {"type", "status", "reason", "lastTransitionTime"} <= set(conditions["items"]["required"])


def test_columns_point_at_what_there_is():
    for kind in KINDS:
        (version,) = custom_resource_definition(kind)["spec"]["versions"]
        known = {path for path, _ in parts(schema_of(kind))} | {"metadata.creationTimestamp"}
        for column in version["additionalPrinterColumns"]:
            path = re.sub(r"\[\?.*?\]", "[]", column["jsonPath"].removeprefix("."))
            assert path in known, column


# The checks of the Python models beyond type and bounds. Each is also made before a document is in force: by
# "the schema" or "a rule (CEL)" at apply, or by "the operator". The second text is from the reference.
TWINS = {
    "RtpPorts._check_range": ("a rule (CEL)", "`lastPort` is above `firstPort`"),
    "GatewayAudio._check_twice": ("the schema", "each codec once"),
    "Autoscaling._check_bounds": ("a rule (CEL)", "`maxRelays` is at least `minRelays`"),
    "Drain._check_order": ("a rule (CEL)", "`graceSeconds` is at least `deadlineSeconds`"),
    "SipTrunkSpec._check_one_way": ("a rule (CEL)", "`sourceCidrs` or `auth`, not both"),
    "DigestAuth._check_twice": ("the schema", "each digest algorithm once"),
    "TrunkNumbers._check_prefixes": (
        "a rule (CEL)",
        "`nationalPrefix` and `internationalPrefix` differ",
    ),
    "StringMatch._check_one": ("a rule (CEL)", "exactly one of `exact`, `prefix`, `regex`"),
    "BotAudio._check_rate": ("a rule (CEL)", "PCMU and PCMA have 8000 Hz"),
    "Fallback._check_weights": ("a rule (CEL)", "`fallback.bots` is empty or has a weight above 0"),
    "BotRouteSpec._check_weights": ("a rule (CEL)", "`bots` has a weight above 0"),
    "_check_address": ("a rule (CEL)", "an address is an IP address"),
    "_check_cidr": ("a rule (CEL)", "a network has no host bits"),
    "_check_endpoint": ("a rule (CEL)", "an endpoint's port is 1 to 65535"),
    "_check_regex": ("the operator", "a regex is of the subset below"),
}


def models(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    yield model
    for name in fields_of(model):
        found = field_at(model, (name,))
        inner = found[0] if found else None
        for one in (inner, *get_args(inner)):
            if isinstance(one, type) and issubclass(one, BaseModel):
                yield from models(one)


def checks(model: type[BaseModel]) -> Iterator[str]:
    for name in model.__pydantic_decorators__.model_validators:
        yield f"{model.__name__}.{name}"
    for name, info in model.model_fields.items():
        text = repr((info.annotation, info.metadata))
        yield from re.findall(r"AfterValidator\(func=<function (\w+)", text)
        found = field_at(model, (info.alias or name,))
        yield from (
            one.func.__name__ for one in (found[1] if found else ()) if isinstance(one, AfterValidator)
        )


def test_every_check_has_a_twin_or_is_the_operators_to_report(reference: str):
    made = {check for kind in KINDS.values() for model in models(kind) for check in checks(model)}
    assert made == set(TWINS)
    for twin, words in TWINS.values():
        assert f"| {words} | {twin} |" in reference


def test_every_rule_says_what_is_allowed():
    for kind in KINDS:
        for path, one in parts(schema_of(kind)):
            for rule in one.get("x-kubernetes-validations", []):
                assert rule["message"].startswith("allowed: "), path
