"""Fixtures of the system tests: a gateway that many share, and one each for tests that break things."""

import signal
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent / "kit"))  # the tests' own library, not a distribution

from gatewaykit.bots import OldBot, StartBot, compile_old_contract
from gatewaykit.gateway import Gateway
from gatewaykit.phone import Phone

# What a script runs in the background ignores SIGINT, and so would the commands whose Ctrl-C is tested.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


_shared: list[Gateway] = []
"""The gateway of the tests that share one, while such tests run."""


def _is_sharing(item: pytest.Item | None) -> bool:
    return "shared_gateway" in getattr(item, "fixturenames", ())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the tests that share a gateway one after another, since it costs CPU for as long as it runs."""
    sharing = [item for item in items if _is_sharing(item)]
    if sharing:
        first = items.index(sharing[0])
        items[first:] = [*sharing, *(item for item in items[first:] if not _is_sharing(item))]


@pytest.fixture
def shared_gateway(tmp_path_factory: pytest.TempPathFactory) -> Gateway:
    if not _shared:
        _shared.append(Gateway(tmp_path_factory.mktemp("gw"), edges=2, relays=2).start())
    return _shared[0]


@pytest.fixture
def gateway(shared_gateway: Gateway) -> Gateway:
    """Two edges, two relays, for all tests that leave it whole; its log tails come with each failure."""
    shared_gateway.mark()
    return shared_gateway


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(nextitem: pytest.Item | None) -> Iterator[None]:
    """Stop the shared gateway when the next test does not use it."""
    yield
    if _shared and not _is_sharing(nextitem):
        statuses = _shared.pop().stop()
        assert set(statuses.values()) == {0}, f"not every process ended cleanly: {statuses}"


@pytest.fixture
def own_gateway(tmp_path: Path) -> Iterator[Gateway]:
    """Two edges, two relays of this test alone: it may kill what it likes."""
    gateway = Gateway(tmp_path, edges=2, relays=2, calls_per_relay=50).start()
    gateway.mark()
    yield gateway
    gateway.kill()


@pytest.fixture
def cluster_gateway(tmp_path: Path) -> Iterator[Gateway]:
    """Two edges, two relays of this test alone, with the flags that a chart gives."""
    gateway = Gateway(tmp_path, edges=2, relays=2, calls_per_relay=50, in_cluster=True).start()
    gateway.mark()
    yield gateway
    gateway.kill()


@pytest.fixture
def draining_gateway(tmp_path: Path) -> Iterator[Gateway]:
    """Two edges, two relays whose calls leave after half a second when they drain, in mid-word."""
    flags = ("--drain-deadline", "0.5", "--drain-seconds", "12")
    gateway = Gateway(tmp_path, edges=2, relays=2, calls_per_relay=50, relay_flags=flags).start()
    gateway.mark()
    yield gateway
    gateway.kill()


@pytest.fixture
def tight_gateway(tmp_path: Path) -> Iterator[Gateway]:
    """One edge, one relay with ports for two calls."""
    gateway = Gateway(tmp_path, edges=1, relays=1, calls_per_relay=2).start()
    gateway.mark()
    yield gateway
    gateway.kill()


@pytest.fixture
async def phone() -> AsyncIterator[Phone]:
    phone = await Phone.open()
    yield phone
    await phone.aclose()


@pytest.fixture(scope="session")
def old_contract(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_old_contract(tmp_path_factory.mktemp("contract"))


@pytest.fixture
def start_bot(old_contract: Path, tmp_path: Path) -> Iterator[StartBot]:
    """`start_bot(gateway, route, behaviour, *options)`: an old-contract bot where the route expects it."""
    started: list[OldBot] = []

    def start(gateway: Gateway, route: str, behaviour: str = "echo", *options: str) -> OldBot:
        listen = gateway.routes[route].address
        name = f"old-bot-{route}-{len(started)}"
        bot = OldBot(name, tmp_path, old_contract, "--listen", listen, "--behaviour", behaviour, *options)
        bot.start()
        started.append(bot)
        return bot

    yield start
    for bot in started:
        bot.kill()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[Any]:
    report: pytest.TestReport = yield
    if report.failed:
        fixtures: dict[str, object] = getattr(item, "funcargs", {})
        for fixture in {id(value): value for value in fixtures.values()}.values():
            if isinstance(fixture, Gateway):
                report.sections += [(f"log of {name}", tail) for name, tail in fixture.tails() if tail]
    return report
