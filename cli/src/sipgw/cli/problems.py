"""How a command says that it can't: plain lines on stderr and an exit status, never a traceback."""

import sys
from typing import NoReturn

FAILED = 1
MISUSED = 2


def quieten_libraries() -> None:
    """What a library would log is told by the command in its own words, or not worth telling."""
    from sipgw.runtime.telemetry.logs import configure_logging

    configure_logging("cli", level="critical")


def give_up(reason: object, *, status: int = FAILED) -> NoReturn:
    """Prints the reason and ends the process."""
    sys.stderr.write(f"sipgw: {reason}\n")
    raise SystemExit(status)
