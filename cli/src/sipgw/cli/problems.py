"""How a command reports a problem: plain lines on stderr and an exit status, never a traceback."""

import sys
from typing import NoReturn

FAILED = 1
MISUSED = 2


def quieten_libraries() -> None:
    """Silence the libraries' logs: the command reports the problems in its own words."""
    from sipgw.runtime.telemetry.logs import configure_logging

    configure_logging("cli", level="critical")


def give_up(reason: object, *, status: int = FAILED) -> NoReturn:
    """Print the reason and end the process."""
    sys.stderr.write(f"sipgw: {reason}\n")
    raise SystemExit(status)
