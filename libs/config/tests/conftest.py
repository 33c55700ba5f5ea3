import re
from pathlib import Path

import pytest

REFERENCE = Path(__file__).parents[3] / "docs" / "reference" / "config.md"


@pytest.fixture(scope="session")
def reference() -> str:
    """The text of docs/reference/config.md."""
    return REFERENCE.read_text("utf-8")


@pytest.fixture(scope="session")
def example(reference: str) -> str:
    """The full example in it."""
    found = re.search(r"```yaml\n(.*?)```", reference, re.DOTALL)
    assert found
    return found[1]
