"""`sipgw call` as a process: what it does at a signal."""

import asyncio
import json
import signal
import socket
import sys
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import Iterator

import pytest

from sipgw.runtime.patience import patient
from sipgw.siptest import EndedBy, SipPhone

START_S = 20.0
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture(autouse=True)
def _no_signal_is_ignored() -> Iterator[None]:
    """A command inherits the signals that a script's background job, or nohup, ignores."""
    ignored = [number for number in SIGNALS if signal.getsignal(number) is signal.SIG_IGN]
    for number in ignored:
        signal.signal(number, signal.SIG_DFL)
    yield
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)


async def place(uri: str, *options: str) -> Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "sipgw.cli", "call", uri, *options),
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=STDOUT,
    )


async def output_of(process: Process) -> str:
    output, _ = await asyncio.wait_for(process.communicate(), patient(START_S))
    return output.decode()


@pytest.mark.parametrize("number", SIGNALS)
async def test_a_signal_hangs_up_and_the_result_is_shown(number: signal.Signals) -> None:
    async with await SipPhone.open(user="bob") as bob:
        process = await place(bob.uri, "--duration", "60")
        call = (await bob.incoming(patient(START_S))).answer()
        await call.changes.until(lambda: len(call.received.packets) >= 5, patient(10), "audio")
        process.send_signal(number)
        assert (await call.ended(patient(10))).by is EndedBy.PEER
        output = await output_of(process)
    assert process.returncode == 0, output
    assert output.splitlines()[2] == "BYE"
    assert output.splitlines()[-1] == "ok"


async def test_a_signal_before_the_answer_cancels_the_call_which_has_failed() -> None:
    async with await SipPhone.open(user="bob") as bob:
        process = await place(bob.uri, "--json")
        ringing = await bob.incoming(patient(START_S))
        ringing.ring()
        process.send_signal(signal.SIGTERM)
        await ringing.cancelled(patient(10))
        output = await output_of(process)
    assert process.returncode == 1, output
    assert json.loads(output)["failure"] == "hung up before the answer"


async def test_a_second_signal_ends_the_command_though_the_other_side_is_silent() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        silent.setblocking(False)
        uri = f"sip:nobody@127.0.0.1:{silent.getsockname()[1]}"
        process = await place(uri)
        assert process.stdout is not None
        await asyncio.wait_for(asyncio.get_running_loop().sock_recv(silent, 4096), patient(START_S))
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(patient(10)):
            told = [(await process.stdout.readline()).decode() for _ in range(2)]
        assert told == [f"INVITE {uri}\n", "CANCEL\n"]
        process.send_signal(signal.SIGTERM)
        await output_of(process)
    assert process.returncode == -signal.SIGTERM
