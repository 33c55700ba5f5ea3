import json
from pathlib import Path

import pytest

from sipgw.local.state_file import announced, running_gateways, state_directory


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path


def test_a_gateway_is_found_while_it_lives() -> None:
    assert running_gateways() == []
    with announced("127.0.0.1:7000", ["127.0.0.1:5060"]) as path:
        assert path.parent.stat().st_mode & 0o077 == 0
        (found,) = running_gateways()
        assert (found.registry, found.sip) == ("127.0.0.1:7000", ["127.0.0.1:5060"])
    assert running_gateways() == []


def test_the_file_of_a_killed_one_is_passed_over_and_removed() -> None:
    with announced("127.0.0.1:7000", []) as path:
        stale = json.loads(path.read_text()) | {"pid_created_s": 1.0, "registry": "127.0.0.1:6999"}
        other = path.with_name("up-1.json")
        other.write_text(json.dumps(stale))
        path.with_name("up-2.json").write_text("{half")
        assert [found.registry for found in running_gateways()] == ["127.0.0.1:7000"]
        assert not other.exists()


def test_without_a_runtime_directory_it_is_a_private_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert state_directory().name.startswith("sipgw-")
