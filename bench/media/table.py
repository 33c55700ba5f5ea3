"""The table of all windows, as Markdown."""

from collections.abc import Iterable
from typing import Final

from media.rows import Row, best_of

_COLUMNS: Final = (
    "bot | calls | window | relay core | user | system | floor | multiple | p50 ms | p99 ms "
    "| lost to+by+damaged | late packets | ticks late | floor's | latest ms | floor's | beyond "
    "| KiB/call | other threads | bot core | takes more"
)
_MEMORY_SHOWS: Final = 100
"""Calls from which on memory by the call is more than the noise of an allocator."""


def head() -> str:
    """Return the first two lines."""
    return f"| {_COLUMNS} |\n{'|---' * (_COLUMNS.count('|') + 1)}|"


def line(row: Row, *, is_best: bool = False) -> str:
    """Return the line of a window; the best one's number is bold."""
    window = f"**{row.window}**" if is_best else f"{row.window}"
    calls = f"{row.calls}" if not row.refused else f"{row.calls} ({row.refused} refused)"
    multiple = f"{row.multiple:.2f}" if row.multiple is not None else "-"
    kib = f"{row.rss_kib_a_call:.0f}" if row.calls >= _MEMORY_SHOWS else "-"
    return (
        f"| {row.series} | {calls} | {window} | {row.core:.3f} | {row.user:.3f} | {row.system:.3f} "
        f"| {row.floor_core:.3f} | {multiple} | {row.p50_ms:.1f} | {row.p99_ms:.1f} "
        f"| {row.lost_to_relay}+{row.lost_by_relay}+{row.not_whole} | {row.late_packets} "
        f"| {'-' if row.ticks_late is None else row.ticks_late} | {row.floor_ticks_late} "
        f"| {row.tick_late_ms:.1f} | {row.floor_timer_ms:.1f} | {row.late_beyond_ms:.1f} "
        f"| {kib} | {row.other_threads:.3f} | {row.bot_core:.2f} "
        f"| {'yes' if row.takes_more else 'no'} |"
    )


def table(rows: list[Row]) -> str:
    """Return all windows by series and calls, the best ones marked, and what was refused."""
    best = set(map(id, best_of(rows).values()))
    names = list(dict.fromkeys(row.series for row in rows))
    ordered = sorted(rows, key=lambda row: (names.index(row.series), row.calls, row.window))
    lines = [head(), *(line(row, is_best=id(row) in best) for row in ordered)]
    return "\n".join([*lines, *_notes(ordered)])


def _notes(rows: Iterable[Row]) -> list[str]:
    notes = []
    for row in rows:
        if row.lost_from_relay or row.floor_lost:
            notes.append(
                f"{row.series} {row.calls}, window {row.window}: the callers' own sockets dropped "
                f"{row.lost_from_relay} packets; the floor lost {row.floor_lost}"
            )
        notes += [
            f"{row.series} {row.calls}, window {row.window}: {count} refused: {why}"
            for why, count in row.refusals.items()
        ]
    return ["", *notes] if notes else []
