"""The SDK needs sipgw.api and sipgw.audio and nothing else of sipgw; the echo bot is a command."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[3]


def test_the_sdk_imports_with_only_api_and_audio_beside_it(tmp_path: Path):
    """`-S` keeps the editable workspace members away; third-party packages come by path, without `sipgw`."""
    third_party = tmp_path / "third_party"
    third_party.mkdir()
    for package in ("grpc", "numpy", "google"):
        origin = Path(sys.modules[package].__path__[0] if package in sys.modules else _find(package))
        (third_party / package).symlink_to(origin)
        for extra in origin.parent.glob(f"{package}*.libs"):
            (third_party / extra.name).symlink_to(extra)
    for module in origin.parent.glob("typing_extensions.py"):
        (third_party / module.name).symlink_to(module)
    paths = [ROOT / "sdk/python/src", ROOT / "libs/api/src", ROOT / "libs/audio/src", third_party]
    code = (
        f"import sys; sys.path[:0] = {[str(path) for path in paths]!r}\n"
        "import sipgw.bot, sipgw.bot.testing, sipgw.bot.echo, pkgutil, sipgw\n"
        "print(sorted(found.name for found in pkgutil.iter_modules(sipgw.__path__)))\n"
    )
    run = subprocess.run(
        [sys.executable, "-S", "-I", "-c", code], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == "['api', 'audio', 'bot']"


def _find(package: str) -> str:
    import importlib

    return importlib.import_module(package).__path__[0]


def test_the_echo_bot_is_a_command_that_says_ready_and_stops_on_sigterm():
    command = [sys.executable, "-m", "sipgw.bot.echo", "--listen", "127.0.0.1:0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        ready = json.loads(process.stderr.readline())
        assert (ready["event"], ready["service"]) == ("ready", "bot")
        host, port = ready["listen"].split(":")
        taken = subprocess.run(
            [*command[:-1], f"{host}:{port}"], capture_output=True, text=True, timeout=30, check=False
        )
        assert taken.returncode == 2
        assert port in taken.stderr
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_numpy_is_the_audio():
    from sipgw.bot.converter import as_samples

    samples = np.arange(4, dtype=np.int16)
    assert np.array_equal(as_samples(samples), samples)
    assert np.array_equal(as_samples(samples.astype("<i2").tobytes()), samples)
