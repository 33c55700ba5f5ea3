"""The bots of the pages, as written there, run behind `sipgw up --bot` and take a call."""

import asyncio
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from gatewaykit.up import Up

from sipgw.runtime.free_ports import free_port
from sipgw.runtime.patience import patient

pytestmark = pytest.mark.system

ROOT = Path(__file__).parents[1]
_PYTHON = re.compile(r"^```python\n(.*?)^```\n", re.DOTALL | re.MULTILINE)


@pytest.fixture
async def up(tmp_path: Path) -> AsyncIterator[Up]:
    up = Up(tmp_path)
    yield up
    await up.aclose()


class ShownBot:
    """Runs the first Python block of a page, on a free port; an async context. `said` is its output."""

    def __init__(self, page: str, directory: Path) -> None:
        shown = _PYTHON.search((ROOT / page).read_text("utf-8"))
        assert shown is not None
        assert shown[1].count("port=9090") == 1
        port = free_port()
        self.address = f"127.0.0.1:{port}"
        self.said = ""
        self._file = directory / "bot.py"
        self._file.write_text(shown[1].replace("port=9090", f"port={port}"), "utf-8")
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> "ShownBot":
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(sys.executable, str(self._file), stdout=pipe)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process is not None
        if self._process.returncode is None:
            self._process.terminate()
        output, _ = await asyncio.wait_for(self._process.communicate(), patient(30))
        self.said = output.decode()


@pytest.mark.parametrize(
    ("page", "options", "ends_with", "said"),
    [
        ("README.md", ("--duration", "1"), "BYE", "sipgw called echo\n"),
        ("docs/tutorials/first-bot.md", ("--dtmf", "9"), "ended by the other side .*bot hung up.*", ""),
        ("sdk/python/README.md", ("--duration", "1"), "BYE", "sipgw calls echo\n"),
    ],
)
async def test_a_bot_that_a_page_shows_takes_the_calls_of_up(
    up: Up, tmp_path: Path, page: str, options: tuple[str, ...], ends_with: str, said: str
) -> None:
    async with ShownBot(page, tmp_path) as bot:
        await up.start(f"--bot={bot.address}", "--no-recording")
        assert up.ready.endswith(f" bot={bot.address} recordings=off")
        calls, is_heard = 0, False
        while not is_heard and calls < 5:
            status, output = await up.command("call", f"sip:echo@127.0.0.1:{up.sip[0][1]}", *options)
            calls += 1
            assert status == 0, output
            assert re.search(rf"^{ends_with}$", output, re.MULTILINE), output
            is_heard = "echo latency p50" in output
            assert is_heard or patient(1.0) > 1.0, "on a quiet machine the bot says again what it hears"
    assert is_heard
    assert bot.said == said * calls
    assert list(up.directory.rglob("*.wav")) == []
