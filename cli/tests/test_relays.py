from rich.console import Console

from sipgw.api.calls.v1.session_pb2 import ProcessIdentity
from sipgw.api.registry.v1.registry_pb2 import Relay, RelayRegistration
from sipgw.cli.relays import state_of, table_of


def relay(name: str, *, healthy: bool = True, draining: bool = False, **words: bool) -> Relay:
    registration = RelayRegistration(
        relay=ProcessIdentity(name=name, incarnation="1"),
        advertised_address="192.0.2.1",
        capacity_units=100,
    )
    relay = Relay(registration=registration, calls=7, used_units=9, ports_free=80, **words)
    relay.healthy, relay.draining = healthy, draining
    return relay


def test_a_relay_that_is_gone_does_not_drain() -> None:
    assert state_of(relay("a")) == "ready"
    assert state_of(relay("a", draining=True)) == "draining"
    assert state_of(relay("a", healthy=False, draining=True)) == "gone"


def test_a_full_relay_is_not_a_draining_one() -> None:
    assert state_of(relay("a", full=True)) == "full"
    assert state_of(relay("a", full=True, draining=True)) == "draining"
    assert state_of(relay("a", full=True, healthy=False)) == "gone"


def test_a_relay_whose_audio_is_late_says_so_unless_it_is_full_too() -> None:
    assert state_of(relay("a", late=True)) == "late"
    assert state_of(relay("a", late=True, full=True)) == "full"
    assert state_of(relay("a", late=True, draining=True)) == "draining"


def test_the_table_shows_calls_and_room() -> None:
    console = Console(width=80, record=True)
    console.print(table_of([relay("relay-0"), relay("relay-1", draining=True)]))
    shown = console.export_text()
    assert "relay-0 │ ready" in shown
    assert "relay-1 │ draining" in shown
    assert "9/100" in shown
