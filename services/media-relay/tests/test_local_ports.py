"""RTP ports that other programs may get are reported with the cure, unless they are reserved."""

from pathlib import Path

import pytest

from sipgw.media_relay.app import _port_pool
from sipgw.media_relay.ports.local_ports import node_port_warning, overlap_warning
from sipgw.media_relay.settings import DrainTimes, RelayEndpoints, RelayIdentity, RelaySettings, RtpSettings


@pytest.fixture
def sysctl(tmp_path: Path) -> Path:
    (tmp_path / "ip_local_port_range").write_text("32768\t60999\n")
    (tmp_path / "ip_local_reserved_ports").write_text("\n")
    return tmp_path


@pytest.mark.parametrize(("low", "high"), [(20000, 22399), (30368, 32767), (61000, 62000)])
def test_a_range_outside_is_silent(sysctl: Path, low: int, high: int) -> None:
    assert overlap_warning(low, high, sysctl=sysctl) == ""


def test_an_overlap_names_the_ports_and_the_cure(sysctl: Path) -> None:
    said = overlap_warning(32000, 34399, sysctl=sysctl)
    assert "RTP ports 32768-34399" in said
    assert "net.ipv4.ip_local_reserved_ports=32768-34399" in said


def test_reserved_ports_are_nobody_elses(sysctl: Path) -> None:
    (sysctl / "ip_local_reserved_ports").write_text("8080,32768-34399\n")
    assert overlap_warning(32000, 34399, sysctl=sysctl) == ""
    assert "34400-34401" in overlap_warning(32000, 34401, sysctl=sysctl)


def test_a_system_without_these_files_is_silent(tmp_path: Path) -> None:
    assert overlap_warning(32000, 34399, sysctl=tmp_path) == ""


@pytest.mark.parametrize(
    ("low", "high", "named"), [(29000, 30001, "30000-30001"), (32000, 34399, "32000-32767")]
)
def test_an_overlap_with_node_ports_is_named(low: int, high: int, named: str) -> None:
    assert f"RTP ports {named} are among" in node_port_warning(low, high)


@pytest.mark.parametrize(("low", "high"), [(20000, 29999), (32768, 34399)])
def test_ports_beside_node_ports_are_silent(low: int, high: int) -> None:
    assert node_port_warning(low, high) == ""


def test_node_ports_are_a_relays_concern_on_a_node_of_a_cluster() -> None:
    def warnings(node: str) -> list[str]:
        settings = RelaySettings(
            RelayIdentity("r", node=node),
            RelayEndpoints("127.0.0.1:0"),
            RtpSettings("127.0.0.1", "127.0.0.1", 32000, 32003),
            DrainTimes(1.0),
            capacity=0,
            media_timeout_s=30.0,
        )
        return [warning for warning in _port_pool(settings)[1] if "NodePort" in warning]

    assert warnings("") == []
    assert len(warnings("node-a")) == 1
