"""The life of a process: uvloop, signals, the ready line, exit status (0 clean, 1 crashed, 2 not started)."""

import asyncio
import gc
import signal
import sys
from collections.abc import Awaitable, Callable

import uvloop

from sipgw.runtime.errors import StartupError
from sipgw.runtime.telemetry import traces
from sipgw.runtime.telemetry.logs import get_logger

_log = get_logger("sipgw.runtime.lifecycle")
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Lifecycle:
    """The argument of a service's main: `stopping` is set by the first SIGTERM or SIGINT."""

    def __init__(self) -> None:
        self.stopping = asyncio.Event()

    def freeze_heap(self) -> None:
        """Collect garbage once after set-up and freeze the rest, so that later collections skip it."""
        gc.collect()
        gc.freeze()


def announce_ready(**fields: object) -> None:
    """Log the event "ready" with the addresses really bound; supervisors and tests wait for it."""
    _log.info("ready", **fields)


def run_service(main: Callable[[Lifecycle], Awaitable[int | None]]) -> int:
    """Run `main` to its end and return the exit status. A second signal cancels a main that hangs."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            return runner.run(_supervise(main))
        except StartupError as error:
            sys.stderr.write(f"{error}\n")
            return 2
        except asyncio.CancelledError:
            _log.warning("stopped_at_once", reason="second signal")
            return 1
        except Exception:
            _log.exception("crashed")
            return 1
        finally:
            traces.shutdown_tracing()


async def _supervise(main: Callable[[Lifecycle], Awaitable[int | None]]) -> int:
    lifecycle = Lifecycle()
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None

    def on_signal(number: signal.Signals) -> None:
        if lifecycle.stopping.is_set():
            task.cancel()
            return
        _log.info("stopping", signal=number.name)
        lifecycle.stopping.set()

    for number in _SIGNALS:
        loop.add_signal_handler(number, on_signal, number)
    try:
        return await main(lifecycle) or 0
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
