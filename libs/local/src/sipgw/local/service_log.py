"""The log file of one service, written by the service itself and read here as it grows.

It is a file, not a pipe: a service never waits for its log's reader, and can still write its last lines when
the supervisor has been killed.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import cast

_LONGEST_READ = 1 << 20
_ROLL_BYTES = 64 << 20

_BOOKKEEPING = frozenset(
    {"event", "level", "ts", "logger", "service", "instance", "exception", "exc_info", "trace_id"}
)

JsonObject = dict[str, object]


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line; `record` is the JSON object of a service's own log line, None for anything else."""

    text: str
    record: JsonObject | None

    @property
    def event(self) -> str:
        return str(self.record.get("event", "")) if self.record is not None else ""

    @property
    def level(self) -> str:
        return str(self.record.get("level", "info")).lower() if self.record is not None else "info"

    def words(self) -> str:
        """Return the line for a person: the event and its fields, without the bookkeeping."""
        if self.record is None:
            return self.text
        fields = " ".join(f"{key}={value}" for key, value in self.record.items() if key not in _BOOKKEEPING)
        return f"{self.event} {fields}".strip()


def parse_line(text: str) -> LogLine:
    """Read a line of a log."""
    if text.startswith("{"):
        try:
            record: object = json.loads(text)
        except ValueError:
            return LogLine(text, None)
        if isinstance(record, dict):
            return LogLine(text, cast("JsonObject", record))
    return LogLine(text, None)


class ServiceLog:
    """Follows a log file from its end at opening; keeps the last few lines."""

    def __init__(self, path: Path, *, keep: int = 12) -> None:
        self.path = path
        self.tail: list[LogLine] = []
        self._keep = keep
        self._partial = b""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.touch(mode=0o600)
        self._position = self.path.stat().st_size

    def read_new(self) -> list[LogLine]:
        """Return the complete lines written since the last call."""
        size = self.path.stat().st_size
        if size < self._position:
            self._position = 0
        if size == self._position:
            return []
        with self.path.open("rb") as file:
            file.seek(self._position)
            data = file.read(_LONGEST_READ)
        self._position += len(data)
        *complete, self._partial = (self._partial + data).split(b"\n")
        lines = [parse_line(line.decode(errors="replace")) for line in complete if line.strip()]
        self.tail = (self.tail + lines)[-self._keep :]
        if self._position >= _ROLL_BYTES:
            self._roll()
        return lines

    def _roll(self) -> None:
        """Keep one older file; the writer appends and so goes on at the start of the new one."""
        with self.path.open("rb") as file:
            self.path.with_suffix(".old.log").write_bytes(file.read())
        with self.path.open("r+b") as file:
            file.truncate(0)
        self._position = 0

    def last_words(self) -> str:
        """Return the last error line or, without one, the last line."""
        for line in reversed(self.tail):
            if line.record is None or line.level in {"error", "critical"}:
                return line.words()
        return self.tail[-1].words() if self.tail else "it said nothing"
