"""Addresses and identities."""

import pytest

from sipgw.runtime.clock import SystemClock
from sipgw.runtime.errors import StartupError
from sipgw.runtime.settings import HostPort, new_identity


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:5060", "127.0.0.1", 5060),
        ("edge.example:0", "edge.example", 0),
        ("[::1]:65535", "::1", 65535),
    ],
)
def test_an_address_is_read_and_written_back(text: str, host: str, port: int) -> None:
    address = HostPort.parse(text)
    assert (address.host, address.port) == (host, port)
    assert str(address) == text


@pytest.mark.parametrize(
    "text", ["", "5060", "host", "host:", ":5060", "host:sip", "host:65536", "host:-1", "host:²"]
)
def test_what_is_no_address_is_refused_by_name(text: str) -> None:
    with pytest.raises(StartupError, match="host:port") as caught:
        HostPort.parse(text)
    assert repr(text) in str(caught.value)


def test_two_starts_under_one_name_are_two_incarnations() -> None:
    first, second = new_identity("relay-0"), new_identity("relay-0")
    assert first.name == second.name == "relay-0"
    assert first.incarnation != second.incarnation
    assert len(bytes.fromhex(first.incarnation)) == 8


def test_the_system_clock_goes_forward() -> None:
    clock = SystemClock()
    assert clock.monotonic() <= clock.monotonic()
    assert clock.unix_ms() > 1_700_000_000_000
