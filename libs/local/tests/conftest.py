import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sipgw.local.service import ServiceSpec, Stage

STUB = Path(__file__).with_name("stub_service.py")


@pytest.fixture
def stub() -> Callable[..., ServiceSpec]:
    """Return a maker of stubs: `stub("relay-0", Stage.RELAY, "--deaf", stop_timeout_s=0.2)`."""

    def make(name: str, stage: Stage = Stage.RELAY, *flags: str, **options: Any) -> ServiceSpec:
        command = (sys.executable, "-S", str(STUB), "--name", name, "--listen", "{listen}", *flags)
        return ServiceSpec(name, stage, command, binds={"listen": "127.0.0.1:0"}, **options)

    return make
