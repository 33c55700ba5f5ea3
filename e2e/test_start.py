"""A process starts with what it needs: large libraries are imported by those that use them."""

import subprocess
import sys

import pytest

LARGE = {
    *("aiohttp", "attr", "cryptography.hazmat", "kopf", "llvmlite", "numba", "numpy", "opentelemetry.sdk"),
    *("psutil", "pydantic", "pygments", "redis", "rich", "yaml"),
}
"""Each takes a twentieth of a second or more, or 5 MB."""
PROGRAM = "import sys, {module}; print(*sys.modules)"


@pytest.mark.parametrize(
    ("module", "needed"),
    [
        ("sipgw.media_relay.__main__", {"numpy"}),
        ("sipgw.sip_edge.__main__", {"cryptography.hazmat", "redis"}),
        ("sipgw.registry.__main__", {"redis"}),
        ("sipgw.operator.__main__", {"aiohttp", "attr", "cryptography.hazmat", "kopf", "pydantic", "yaml"}),
        ("sipgw.cli.main", set[str]()),
        ("sipgw.bot", {"numpy"}),
    ],
)
def test_a_process_imports_no_large_library_that_it_has_no_use_for(module: str, needed: set[str]) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(module=module)], check=True, capture_output=True, text=True
    )
    assert set(ran.stdout.split()) & LARGE == needed
