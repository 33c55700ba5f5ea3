"""Write ci/golden: the manifests of each ci/*-values.yaml. People review them; `make chart-check` compares.

CRDs are left out: libs/config makes them, and its tests compare them.
"""

import re

from rendering import CHART, render_text

CASES = sorted(path.name.removesuffix("-values.yaml") for path in (CHART / "ci").glob("*-values.yaml"))


def rendered(case: str) -> str:
    text = render_text("--values", str(CHART / "ci" / f"{case}-values.yaml"))
    documents = re.split(r"^---\n", text, flags=re.MULTILINE)
    return "---\n".join(part for part in documents if "kind: CustomResourceDefinition" not in part)


def golden(case: str) -> str:
    path = CHART / "ci" / "golden" / f"{case}.yaml"
    return path.read_text() if path.exists() else ""


if __name__ == "__main__":
    for case in CASES:
        (CHART / "ci" / "golden" / f"{case}.yaml").write_text(rendered(case))
