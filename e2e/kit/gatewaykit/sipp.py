"""Run SIPp scenarios and, when one fails, show what SIPp expected and what it got."""

import asyncio
import contextlib
import csv
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sipgw.runtime.free_ports import free_port, free_range, give_back
from sipgw.runtime.patience import patient

_SCENARIOS = Path(__file__).parents[2] / "sipp"
_KILL_AFTER_S = 5.0
_RTP_PORTS = 300


@dataclass(frozen=True)
class SippResult:
    """Counters of SIPp."""

    successful: int
    failed: int
    retransmissions: int


async def run_sipp(
    scenario: str,
    destination: tuple[str, int],
    directory: Path,
    *,
    user: str = "echo",
    host: str = "127.0.0.1",
    calls: int = 1,
    rate: float = 10,
    timeout_s: float = 20,
    options: tuple[str, ...] = (),
    may_fail: bool = False,
    files: Mapping[str, bytes] | None = None,
) -> SippResult:
    """Run `scenario` from `host` for `calls` calls; AssertionError, with SIPp's output, when one fails,
    unless it `may_fail`.
    """
    sipp = shutil.which("sipp")
    assert sipp is not None, "SIPp is not on the PATH (Debian: apt-get install sip-tester)"
    for name, content in (files or {}).items():
        (directory / name).write_bytes(content)
    peer, port = destination
    media = free_range(_RTP_PORTS)
    timeout_s = patient(timeout_s)
    argv = [
        *(sipp, "-sf", str(_SCENARIOS / f"{scenario}.xml"), f"{peer}:{port}", "-s", user),
        *("-i", host, "-p", str(free_port()), "-mi", host, "-mp", str(media)),
        *("-m", str(calls), "-r", str(rate), "-nostdin", "-timeout", f"{timeout_s:.0f}s", "-timeout_error"),
        *("-trace_err", "-error_file", str(directory / "errors.log"), "-error_overwrite", "true"),
        *("-trace_msg", "-message_file", str(directory / "messages.log"), "-message_overwrite", "true"),
        *("-trace_stat", "-stf", str(directory / "stat.csv"), "-fd", "1"),
        *options,
    ]
    out = directory / "stdout.log"
    with out.open("wb") as stdout:
        process = await asyncio.create_subprocess_exec(
            *argv, stdout=stdout, stderr=stdout, stdin=asyncio.subprocess.DEVNULL, cwd=directory
        )
        try:
            await asyncio.wait_for(process.wait(), timeout_s + _KILL_AFTER_S)
        except TimeoutError:
            pass
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
            give_back(media, _RTP_PORTS)
    result = _counts(directory / "stat.csv")
    is_whole = result.successful + (result.failed if may_fail else 0) == calls
    if process.returncode not in ((0, 1) if may_fail else (0,)) or not is_whole:
        raise AssertionError(_explain(scenario, process.returncode, result, directory, out))
    return result


def _counts(path: Path) -> SippResult:
    """Read the last line of SIPp's statistics."""
    if not path.exists():
        return SippResult(0, 0, 0)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter=";"))
    if not rows:
        return SippResult(0, 0, 0)
    last = rows[-1]
    return SippResult(
        *(int(last[f"{name}(C)"]) for name in ("SuccessfulCall", "FailedCall", "Retransmissions"))
    )


def _explain(scenario: str, status: int | None, result: SippResult, directory: Path, out: Path) -> str:
    """Collect the errors, or else the end of the screen, and the messages of the last call."""
    errors = directory / "errors.log"
    why = errors.read_text(errors="replace") if errors.exists() else out.read_text(errors="replace")[-2000:]
    messages = directory / "messages.log"
    seen = messages.read_text(errors="replace") if messages.exists() else ""
    starts = re.findall(r"UDP message (sent|received)[^\n]*\n+(?:\n)?([^\n]+)", seen)
    ladder = "\n".join(f"  {'-->' if way == 'sent' else '<--'} {line.strip()}" for way, line in starts[-30:])
    return f"SIPp {scenario} ended with {status}: {result}\n{why[:2000]}\nlast messages:\n{ladder}"
