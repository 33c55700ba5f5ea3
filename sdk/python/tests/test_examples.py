"""Each example is run: with a caller in the same loop, and as the process that its author starts."""

import importlib.util
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sipgw.bot.testing import TestCaller

EXAMPLES = Path(__file__).parent.parent / "examples"


def load(name: str):
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def speech(rate_hz: int, ms: int, hz: float = 300) -> np.ndarray:
    return (9000 * np.sin(2 * np.pi * hz * np.arange(rate_hz * ms // 1000) / rate_hz)).astype(np.int16)


async def test_echo_says_back_every_sample():
    said = np.random.default_rng(1).integers(-32768, 32767, 1600, dtype=np.int16)
    async with TestCaller(load("echo").echo) as caller:
        await caller.say(said)
        assert np.array_equal(await caller.hear(ms=200), said)


async def test_parrot_repeats_after_a_pause_behind_a_tone():
    parrot = load("parrot")
    said = speech(16000, 400)
    async with TestCaller(parrot.parrot, rate_hz=16000) as caller:
        await caller.say(said)
        assert len(caller.heard()) == 0
        await caller.silence(500)
        assert np.array_equal(await caller.hear(ms=100), parrot.TONE)
        assert np.array_equal(await caller.hear(ms=400), said)


async def test_parrot_stops_when_interrupted():
    async with TestCaller(load("parrot").parrot, rate_hz=16000, hears_at_once=False) as caller:
        await caller.say(speech(16000, 1000))
        await caller.silence(500)
        await caller.listen(ms=300)
        await caller.say(speech(16000, 100))
        await caller.did("clear")
        await caller.listen(ms=5000)
        assert len(caller.heard()) == 300 * 16


async def test_menu_plays_transfers_and_hangs_up():
    menu = load("dtmf_menu")
    async with TestCaller(menu.menu, hears_at_once=False) as caller:
        await caller.press("1")
        await caller.did("clear")
        await caller.press("2")
        transfer = await caller.did("transfer")
        assert transfer.control.transfer_target == "sip:operator@example.org"
        await caller.press("9")
        await caller.did("hangup")
        await caller.finished()


async def test_menu_speaks_and_a_key_stops_it():
    menu = load("dtmf_menu")
    async with TestCaller(menu.menu) as caller:
        assert np.array_equal(await caller.hear(ms=300), menu.MENU)
        await caller.press("1")
        assert np.array_equal(await caller.hear(ms=3200), menu.TUNE)


@pytest.mark.parametrize("name", ["echo", "parrot", "dtmf_menu"])
def test_the_example_serves_until_sigterm(name: str, tmp_path: Path):
    """As its author starts it, but on a free port."""
    code = (EXAMPLES / f"{name}.py").read_text().replace("port=9090", 'host="127.0.0.1", port=0')
    script = tmp_path / f"{name}.py"
    script.write_text(code)
    process = subprocess.Popen([sys.executable, str(script)], stderr=subprocess.PIPE, text=True)
    with process:
        assert "bot listens on 127.0.0.1:" in process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
