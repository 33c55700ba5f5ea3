"""The commands beside a running `sipgw up`, as a person uses them: real processes, real calls."""

import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from gatewaykit.callers import answered, uri_of
from gatewaykit.gateway import eventually
from gatewaykit.speech import make_speech, share_heard
from gatewaykit.up import Up

from sipgw.audio.wav import read_wav
from sipgw.runtime.patience import patient
from sipgw.siptest import EndedBy, SipPhone

pytestmark = [pytest.mark.system, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def up(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Up]:
    """One gateway for all tests of the file, which leave it as it was."""
    up = Up(tmp_path_factory.mktemp("up"))
    await up.start()
    yield up
    assert await up.stop() == 0


@pytest_asyncio.fixture(loop_scope="module")
async def watch(up: Up) -> AsyncIterator[Up]:
    """Start another command of the same user that keeps running."""
    watch = Up(up.directory)
    yield watch
    await watch.aclose()


@pytest_asyncio.fixture(loop_scope="module")
async def alice() -> AsyncIterator[SipPhone]:
    async with await SipPhone.open(user="alice") as phone:
        yield phone


async def test_keys_that_a_caller_presses_are_shown(up: Up, alice: SipPhone) -> None:
    begin = len(up.lines)
    call = await answered(alice, uri_of(up.sip[0]))
    await call.send_dtmf("42")

    async def are_shown() -> bool:
        return [line.split()[-1] for line in up.lines[begin:] if " digit " in line] == ["4", "2"]

    await eventually(are_shown, 5)
    await call.hangup()
    assert call.statistics().packets_lost == 0


async def test_calls_and_hangup_find_the_running_gateway(up: Up, alice: SipPhone) -> None:
    async def has_no_calls() -> bool:
        return await up.command("calls") == (0, "no calls\n")

    await eventually(has_no_calls, 5)
    call = await answered(alice, uri_of(up.sip[0]))
    status, output = await up.command("calls", "--json")
    listed = json.loads(output)
    assert (status, listed["to"]) == (0, "echo")
    status, output = await up.command("hangup", listed["call_id"][:8])
    assert (status, output) == (0, f"ended {listed['call_id']}\n")
    assert (await call.ended(patient(10))).by is EndedBy.PEER
    assert (await up.command("hangup", "ffffffff"))[0] == 1


async def test_the_call_command_reports_in_words_and_in_json(up: Up) -> None:
    uri = uri_of(up.sip[0])
    status, output = await up.command("call", uri, "--dtmf", "1", "--duration", "1.2")
    assert status == 0, output
    assert "echo latency p50" in output
    status, output = await up.command(
        "call", uri, "--calls", "5", "--rate", "10", "--duration", "0.8", "--json"
    )
    result = json.loads(output)
    assert status == 0, output
    assert result["summary"]["calls"] == 5
    assert result["summary"]["failures"] == {}


async def test_the_call_command_says_what_the_wav_says(up: Up, tmp_path: Path) -> None:
    said = make_speech(tmp_path / "said.wav", seed=7, seconds=2.0)
    before = set((up.directory / "state").rglob("*.wav"))
    status, output = await up.command("call", uri_of(up.sip[0]), "--wav", str(tmp_path / "said.wav"))
    assert status == 0, output

    async def is_recorded() -> bool:
        (recording,) = set((up.directory / "state").rglob("*.wav")) - before
        with recording.open("rb") as file:
            caller, _ = read_wav(file).samples
        return share_heard(said, caller) >= 0.7

    await eventually(is_recorded, 5)


async def test_calls_watch_tells_each_change_of_a_call_until_ctrl_c(
    up: Up, watch: Up, alice: SipPhone
) -> None:
    call = await answered(alice, uri_of(up.sip[0]))
    listed = [json.loads(line) for line in (await up.command("calls", "--json"))[1].splitlines()]
    (call_id,) = [one["call_id"] for one in listed if one["state"] == "CALL_STATE_ESTABLISHED"]
    await watch.run("calls", "--watch")
    await watch.line(f"call {call_id} established alice -> echo")
    await call.hangup()
    await watch.line(f"call {call_id} ended (caller hangup")
    assert await watch.stop(signal.SIGINT) == 0
