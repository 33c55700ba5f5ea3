from typing import Any

import pytest

from sipgw.config.models import KINDS
from sipgw.config.reference import reference_tables


@pytest.mark.parametrize("kind", list(KINDS))
def test_the_reference_has_the_table_of_the_models(reference: str, kind: str):
    """After a change of the models: paste what ``python -m sipgw.config.reference`` prints."""
    assert f"### {kind}\n\n{reference_tables()[kind]}\n" in reference


def schemas(schema: Any) -> list[dict[str, Any]]:
    if isinstance(schema, list):
        return [found for one in schema for found in schemas(one)]
    if not isinstance(schema, dict):
        return []
    return [schema, *(found for one in schema.values() for found in schemas(one))]


@pytest.mark.parametrize("kind", list(KINDS))
def test_everything_is_bounded_as_structural_schemas_want_it(kind: str):
    for schema in schemas(KINDS[kind].model_json_schema()):
        match schema.get("type"):
            case "string":
                assert "maxLength" in schema or "enum" in schema or "const" in schema, schema
            case "array":
                assert "maxItems" in schema, schema
            case "integer":
                assert ("maximum" in schema and "minimum" in schema) or "enum" in schema, schema
            case "object" if schema.get("additionalProperties"):
                assert "maxProperties" in schema, schema
