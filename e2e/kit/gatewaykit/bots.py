"""Bots in processes of their own: bots/old_bot.py, compiled against the old contract."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gatewaykit.service import Service

_BOTS = Path(__file__).parents[2] / "bots"


def compile_old_contract(directory: Path) -> Path:
    """Generate the old contract's stubs for PYTHONPATH. Skip the test on a Python without grpcio-tools."""
    if sys.version_info >= (3, 14):
        pytest.skip("grpcio-tools has no wheel for this Python: the old bot's stubs can't be generated")
    subprocess.run(
        [
            *(sys.executable, "-m", "grpc_tools.protoc", f"-I{_BOTS}"),
            *(f"--python_out={directory}", f"--grpc_python_out={directory}", str(_BOTS / "voicebot.proto")),
        ],
        check=True,
        capture_output=True,
    )
    return directory


class OldBot(Service):
    """A process of bots/old_bot.py."""

    def __init__(self, name: str, directory: Path, contract: Path, *options: str) -> None:
        argv = [sys.executable, str(_BOTS / "old_bot.py"), *options]
        super().__init__(name, argv, directory, env={"PYTHONPATH": str(contract)})

    def said(self, event: str) -> list[dict[str, Any]]:
        """Return all lines of that kind that it printed."""
        return [line for line in self.lines() if line["event"] == event]

    def digits(self) -> str:
        """Return the keys pressed, counted by their ends as bots do."""
        return "".join(line["digit"] for line in self.said("digit") if line["end"])


class NotingBot(Service):
    """A process of bots/noting_bot.py."""

    def __init__(self, name: str, directory: Path, listen: str) -> None:
        argv = [sys.executable, str(_BOTS / "noting_bot.py"), "--listen", listen]
        super().__init__(name, argv, directory)

    def frames(self, begin: int = 0) -> list[tuple[int, bool]]:
        """Return (seq, whether it is a replay) of all frames that it heard since its log had this size."""
        return [(line["seq"], line["replay"]) for line in self.lines(begin) if line["event"] == "frame"]


StartBot = Callable[..., OldBot]
