"""The chart renders exactly the golden manifests that a reviewer has read."""

import pytest
from golden import CASES, golden, rendered


@pytest.mark.parametrize("case", CASES)
def test_rendering_is_as_reviewed(case: str) -> None:
    assert rendered(case) == golden(case), "look at the difference, then run make chart-golden"
