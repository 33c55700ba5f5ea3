"""A changing set of calls on the screen: a live table on a terminal, otherwise a line for each change."""

import sys
from collections.abc import Callable, Iterable
from typing import Protocol, Self

from rich.console import Console, RenderableType
from rich.live import Live

from sipgw.api.registry.v1.registry_pb2 import CallSummary
from sipgw.cli.calls_view import has_ended, line_of, table_of


class CallsShow(Protocol):
    """A display, used as a context manager; `say` is for lines that are no change of a call."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> None: ...
    def say(self, line: str) -> None:
        """Print a line."""

    def changed(self, calls: Iterable[CallSummary], *, is_snapshot: bool) -> None:
        """Show changed calls."""

    def pressed(self, call_id: str, digit: str) -> None:
        """Show a key press."""


def show_for(title: str) -> CallsShow:
    """Return the display that fits standard output."""
    return LiveTable(title) if sys.stdout.isatty() else Lines(line_of)


class Lines:
    """One line for each change; repeated states are left out."""

    def __init__(self, line: Callable[[CallSummary], str]) -> None:
        self._line = line
        self._told: dict[str, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def say(self, line: str) -> None:
        """Print a line."""
        print(line, flush=True)

    def changed(self, calls: Iterable[CallSummary], *, is_snapshot: bool) -> None:
        """Print a line for each new state."""
        for call in calls:
            if self._told.get(call.call_id) == call.state:
                continue
            if has_ended(call):
                self._told.pop(call.call_id, None)
                if is_snapshot:
                    continue
            else:
                self._told[call.call_id] = call.state
            self.say(self._line(call))

    def pressed(self, call_id: str, digit: str) -> None:
        """Print a line for the key."""
        self.say(f"call {call_id} digit {digit}")


class LiveTable:
    """A table that is redrawn; lines from `say` scroll above it."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._calls: dict[str, CallSummary] = {}
        self._digits: dict[str, str] = {}
        self._console = Console()
        self._live = Live(console=self._console, refresh_per_second=2, get_renderable=self._render)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def say(self, line: str) -> None:
        """Print a line above the table."""
        self._live.console.print(line, highlight=False, markup=False, soft_wrap=True)

    def changed(self, calls: Iterable[CallSummary], *, is_snapshot: bool) -> None:
        """Redraw the table."""
        if is_snapshot:
            self._calls.clear()
        for call in calls:
            if has_ended(call):
                if self._calls.pop(call.call_id, None) is not None:
                    self.say(line_of(call))
                self._digits.pop(call.call_id, None)
            else:
                self._calls[call.call_id] = call

    def pressed(self, call_id: str, digit: str) -> None:
        """Redraw the table with the key."""
        self._digits[call_id] = self._digits.get(call_id, "") + digit

    def _render(self) -> RenderableType:
        if not self._calls:
            return f"{self._title}: none"
        return table_of(self._calls.values(), self._digits, title=self._title)
