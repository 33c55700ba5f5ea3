"""The life of a process, seen from outside: real processes, real signals."""

import asyncio
import json
import signal
import sys
import textwrap
from asyncio.subprocess import PIPE, Process

import pytest

from sipgw.runtime.patience import patient

_PRELUDE = """
import asyncio, sys
from sipgw.runtime.errors import StartupError
from sipgw.runtime.lifecycle import announce_ready, run_service
from sipgw.runtime.telemetry.logs import configure_logging
configure_logging("probe", instance="probe-0")
"""


async def start(main: str) -> Process:
    code = _PRELUDE + textwrap.dedent(main) + "\nraise SystemExit(run_service(main))\n"
    return await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=PIPE, stderr=PIPE)


async def wait_ready(process: Process) -> dict[str, object]:
    assert process.stderr is not None
    return json.loads(await asyncio.wait_for(process.stderr.readline(), patient(10)))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_the_service_cleanly(number: signal.Signals) -> None:
    process = await start("""
        async def main(lifecycle):
            announce_ready(listen="127.0.0.1:1")
            await lifecycle.stopping.wait()
            print("hung up", type(asyncio.get_running_loop()).__module__)
    """)
    ready = await wait_ready(process)
    assert (ready["event"], ready["service"], ready["listen"]) == ("ready", "probe", "127.0.0.1:1")
    process.send_signal(number)
    out, err = await process.communicate()
    assert (process.returncode, out.split()) == (0, [b"hung", b"up", b"uvloop"])
    assert json.loads(err)["signal"] == number.name


async def test_a_second_signal_ends_a_main_that_hangs() -> None:
    process = await start("""
        async def main(lifecycle):
            announce_ready()
            await lifecycle.stopping.wait()
            announce_ready(step="hanging")
            await asyncio.Event().wait()
    """)
    await wait_ready(process)
    process.send_signal(signal.SIGTERM)
    assert (await wait_ready(process))["event"] == "stopping"
    assert (await wait_ready(process))["step"] == "hanging"
    process.send_signal(signal.SIGTERM)
    await asyncio.wait_for(process.communicate(), patient(10))
    assert process.returncode == 1


async def test_what_can_not_start_says_why_in_one_line_and_exits_2() -> None:
    process = await start("""
        async def main(lifecycle):
            raise StartupError("port 5060 is taken")
    """)
    _, err = await process.communicate()
    assert (process.returncode, err) == (2, b"port 5060 is taken\n")


async def test_a_crash_is_logged_and_exits_1() -> None:
    process = await start("""
        async def main(lifecycle):
            raise KeyError("leg")
    """)
    _, err = await process.communicate()
    line = json.loads(err)
    assert (process.returncode, line["event"]) == (1, "crashed")
    assert line["exception"][0]["exc_type"] == "KeyError"


async def test_the_exit_status_is_what_main_returns() -> None:
    process = await start("""
        async def main(lifecycle):
            lifecycle.freeze_heap()
            return 7
    """)
    await process.communicate()
    assert process.returncode == 7
