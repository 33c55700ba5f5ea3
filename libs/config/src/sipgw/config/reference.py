"""The tables of docs/reference/config.md, from the models; ``python -m`` with this module prints them."""

import sys
from collections.abc import Iterator

from sipgw.config.fields import FieldSpec, field_specs, model_at
from sipgw.config.models import KINDS


def reference_tables() -> dict[str, str]:
    """Return Markdown by kind: each field with its values, its default and its meaning."""
    return {kind: "\n".join(_table(kind)) for kind in KINDS}


def _table(kind: str) -> Iterator[str]:
    spec = model_at(KINDS[kind], ("spec",))
    if spec is None:
        return
    yield "| Field | Takes | Default | Meaning |"
    yield "|---|---|---|---|"
    for field in field_specs(spec, "spec."):
        yield _row(field)


def _row(field: FieldSpec) -> str:
    default = f"`{field.default}`" if field.default else "required"
    bar = "\\|"
    cells = (f"`{field.path}`", field.allowed, default, field.meaning)
    return f"| {' | '.join(cell.replace('|', bar) for cell in cells)} |"


if __name__ == "__main__":
    for name, table in reference_tables().items():
        sys.stdout.write(f"### {name}\n\n{table}\n\n")
