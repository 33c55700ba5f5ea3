"""The laptop's part of each how-to does what it says."""

import asyncio
import shlex
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from gatewaykit.howto import UP, HowTo, Step
from gatewaykit.up import Up

from sipgw.runtime.patience import patient
from sipgw.store.testing import RedisServer

pytestmark = [pytest.mark.system, pytest.mark.slow]

SECTION = "On a laptop"


@pytest.fixture
async def up(tmp_path: Path) -> AsyncIterator[Up]:
    up = Up(tmp_path)
    yield up
    await up.aclose()


async def run(up: Up, step: Step) -> str:
    """Run a command, which has to succeed; return its output."""
    port = up.sip[0][1]
    command = step.command.replace(".venv/bin", str(Path(sys.executable).parent)).replace(":5060", f":{port}")
    command = command.replace("pgrep -nf", f"pgrep -P {up.pid} -nf")  # another gateway's are not ours to kill
    # A relay without a processor takes no call, and says 503: on a busy machine the caller tries again.
    command = command.replace("sipgw call ", f"sipgw call --patience {patient(10) - 10:.0f} ")
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *("timeout", f"{patient(60):.0f}", "bash", "-euo", "pipefail", "-c", command),
        stdout=pipe,
        stderr=asyncio.subprocess.STDOUT,
        cwd=up.directory,
        env=up.environment,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return output.decode()


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path) as server:
        yield server


@pytest.mark.parametrize(
    "name", ["add-a-trunk", "route-a-number", "drain-a-relay", "two-edges", "external-redis"]
)
async def test_a_how_to_works_on_a_laptop(redis: RedisServer, up: Up, name: str) -> None:
    how_to = HowTo.read(name)
    how_to.write(up.directory)
    start, *rest = how_to.steps_of(SECTION)
    assert start.command.startswith(UP)
    command = start.command.removeprefix(UP).replace("--sip-port 5060", "")
    options = shlex.split(command.replace("redis://redis.example.net:6379/0", redis.url))
    await up.start(*(str(up.directory / one) if one.endswith(".yaml") else one for one in options))
    assert rest
    for step in rest:
        output = await run(up, step)
        if patient(1.0) > 1.0:
            output = output.replace("│ late ", "│ ready ")  # a relay without a processor says that it is late
        step.check(output)
    assert has_keys(redis) == ("--redis" in start.command)


async def test_the_environment_names_a_redis_as_the_option_does(redis: RedisServer, up: Up) -> None:
    up.environment["SIPGW_REDIS_URL"] = redis.url
    await up.start()
    assert has_keys(redis)
    assert up.services("redis-server") == []


def has_keys(redis: RedisServer) -> bool:
    return b"sipgw:" in redis.ask(b"KEYS sipgw:*")
