"""Keep commands, which run in the tests' own process, from changing the logging of later tests."""

import pytest


@pytest.fixture(autouse=True)
def _logging_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    def leave_it(_service: str, *, level: str) -> None:
        assert level == "critical", "libraries are quiet under a command"

    monkeypatch.setattr("sipgw.runtime.telemetry.logs.configure_logging", leave_it)
