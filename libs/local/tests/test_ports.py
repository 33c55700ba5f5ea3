import os
import socket

import pytest

from sipgw.local.errors import BadOptions, PortTaken
from sipgw.local.ports import PortRange, default_route_address, require_free_udp_port


def test_a_range_is_parsed_and_begins_even() -> None:
    assert PortRange.parse("20000-22399") == PortRange(20000, 22399)
    assert PortRange.parse("20001-22399").low == 20002


@pytest.mark.parametrize("text", ["", "20000", "a-b", "22399-20000", "1-2000", "20000-70000", "20000-20000"])
def test_a_wrong_range_is_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(BadOptions, match=r"LOW"):
        PortRange.parse(text)


def test_a_split_is_even_ports_without_overlap() -> None:
    parts = PortRange.parse("20000-20099").split(3)
    assert [str(part) for part in parts] == ["20000-20031", "20032-20063", "20064-20095"]


def test_too_small_a_range_for_the_relays_is_refused() -> None:
    with pytest.raises(BadOptions, match="too few for 8 relays"):
        PortRange.parse("20000-20007").split(8)


def test_a_taken_port_names_the_process() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
        holder.bind(("127.0.0.1", 0))
        port = holder.getsockname()[1]
        with pytest.raises(
            PortTaken, match=rf"UDP port {port} is taken by process {os.getpid()} \(.+\); try another"
        ):
            require_free_udp_port("127.0.0.1", port, advice="try another")


def test_a_taken_port_of_an_unknown_process_says_how_to_find_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("psutil.net_connections", lambda kind: [])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
        holder.bind(("127.0.0.1", 0))
        with pytest.raises(PortTaken, match="sudo ss -lunp"):
            require_free_udp_port("127.0.0.1", holder.getsockname()[1], advice="")


def test_a_free_port_passes_and_a_foreign_address_is_refused() -> None:
    require_free_udp_port("127.0.0.1", 0, advice="")
    with pytest.raises(BadOptions, match=r"cannot listen on 198.51.100.7"):
        require_free_udp_port("198.51.100.7", 5060, advice="")


def test_the_default_address_is_one_of_ours() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ours:
        ours.bind((default_route_address(), 0))


def test_without_a_route_the_default_is_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    class Unrouted(socket.socket):
        def connect(self, address: object) -> None:
            raise OSError(101, "Network is unreachable")

    monkeypatch.setattr("socket.socket", Unrouted)
    assert default_route_address() == "127.0.0.1"
