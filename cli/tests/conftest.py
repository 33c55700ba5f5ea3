"""Commands run in the tests' own process: what they do to logging would stay for every test after them."""

import pytest


@pytest.fixture(autouse=True)
def _logging_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    def leave_it(_service: str, *, level: str) -> None:
        assert level == "critical", "libraries are quiet under a command"

    monkeypatch.setattr("sipgw.runtime.telemetry.logs.configure_logging", leave_it)
