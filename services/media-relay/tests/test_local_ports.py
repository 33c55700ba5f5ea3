"""RTP ports among those for outgoing connections: said with the cure, unless they are reserved."""

from pathlib import Path

import pytest

from sipgw.media_relay.local_ports import overlap_warning


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
