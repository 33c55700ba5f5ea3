"""Calls leave a relay that responds late or not at all, whatever the command was.

In the end at most one relay has a session of the call, and the bot that the caller hears has the latest
epoch.
"""

import asyncio
from collections.abc import Callable

import pytest

from edge_kit.caller import Caller, CallerDialog
from edge_kit.edges import TestEdge, gateway_config
from edge_kit.fake_registry import FakeRegistry
from edge_kit.fake_relay import FakeRelay
from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.api.config.v1 import config_pb2 as config
from sipgw.api.relay.v1 import control_pb2 as relay_api

OWN, SPARE = "own:1", "spare:1"
Fault = Callable[[FakeRelay, "Step"], asyncio.Event]
Step = Callable[[relay_api.Command], bool]


@pytest.fixture
def gateway() -> config.GatewayConfig:
    return gateway_config(
        bots=[config.BotTarget(endpoint=OWN, weight=1)],
        fallback_bots=[config.BotTarget(endpoint=SPARE, weight=1)],
    )


def allocate(command: relay_api.Command) -> bool:
    return command.HasField("allocate")


def start(command: relay_api.Command) -> bool:
    return command.HasField("start")


def allocate_for_the_fallback(command: relay_api.Command) -> bool:
    return command.allocate.bot.endpoint == SPARE


def late(relay: FakeRelay, step: Step) -> asyncio.Event:
    """Serve the command after the edge has given up waiting."""
    go = asyncio.Event()

    async def wait(command: relay_api.Command) -> None:
        if step(command):
            await go.wait()

    relay.on_command = wait
    return go


def lost(relay: FakeRelay, step: Step) -> asyncio.Event:
    """Serve the command at once, and lose its result."""

    async def lose(command: relay_api.Command) -> None:
        relay.loses_results_of = {command.WhichOneof("command") or ""} if step(command) else set()

    relay.on_command = lose
    return asyncio.Event()


def frozen(relay: FakeRelay, step: Step) -> asyncio.Event:
    """Serve the command, then freeze the relay until the test thaws it."""
    go = asyncio.Event()

    async def freeze(command: relay_api.Command) -> None:
        if step(command) and not go.is_set():
            relay.loses_results_of = {command.WhichOneof("command") or ""}
            relay.freeze()
            asyncio.get_running_loop().create_task(thaw())

    async def thaw() -> None:
        await go.wait()
        relay.loses_results_of = set()
        relay.thaw()

    relay.on_command = freeze
    return go


@pytest.mark.parametrize("fault", [late, lost, frozen], ids=lambda one: one.__name__)
@pytest.mark.parametrize("step", [allocate, start, allocate_for_the_fallback], ids=lambda one: one.__name__)
async def test_one_relay_has_the_call_in_the_end(
    edge: TestEdge,
    registry: FakeRegistry,
    relay: FakeRelay,
    other_relay: FakeRelay,
    caller: Caller,
    step: Step,
    fault: Fault,
) -> None:
    if step is allocate_for_the_fallback:
        relay.absent_bots = {OWN}
    registry.relays.append(other_relay)
    go = fault(relay, step)
    call = await CallerDialog.established(caller, edge.sip)
    assert b"192.0.2.11" in call.ok.body
    go.set()
    await edge.until(lambda: not relay.sessions and len(other_relay.sessions) == 1)
    asked = [one.command.allocate.bot.epoch for one in relay.handled if one.kind == "allocate"]
    assert other_relay.sessions[call.call_id].spec.bot.epoch > max(asked, default=0)
    assert (await call.ask("BYE", edge.sip)).status == 200
    await edge.until(lambda: not relay.sessions and not other_relay.sessions)


async def test_a_relay_that_misses_a_calls_end_is_told_when_it_is_heard_again(
    edge: TestEdge, relay: FakeRelay, caller: Caller
) -> None:
    call = await CallerDialog.established(caller, edge.sip)
    relay.freeze()
    assert (await call.ask("BYE", edge.sip)).status == 200
    await edge.until(lambda: not edge.app.records.owned)
    assert relay.sessions
    relay.thaw()
    await edge.until(lambda: not relay.sessions)
    ended = [one.command.release for one in relay.handled if one.kind == "release"]
    assert {(one.reason, one.moved) for one in ended} == {("the caller hung up", False)}


async def test_a_move_that_leaves_a_target_for_another_releases_it(
    edge: TestEdge, relay: FakeRelay, other_relay: FakeRelay, call: CallerDialog, registry: FakeRegistry
) -> None:
    third = FakeRelay("relay-2", "192.0.2.12")
    await third.start()
    try:
        registry.relays.append(third)
        lost(other_relay, allocate)
        relay.emit(call.call_id, move_requested=relay_api.MoveRequested())
        await edge.until(lambda: not relay.sessions and not other_relay.sessions)
        assert set(third.sessions) == {call.call_id}
        record = edge.app.records.copy_of(call.call_id)
        assert record is not None
        assert record.state == calls.CALL_STATE_ESTABLISHED
    finally:
        await third.stop()
