"""Row: the figures of one window of a relay, beside the floor's window of the same minute."""

from collections.abc import Iterable
from dataclasses import dataclass

from media.figures import LATE_MS
from media.windows import FloorWindow, RelayWindow


@dataclass(frozen=True, slots=True)
class Row:
    """The figures of a window, for the table, the picture and the JSON. Cores are CPU time over wall time."""

    series: str
    window: int
    load_average: float
    calls: int
    """The calls that were asked for."""
    refused: int
    refusals: dict[str, int]
    core: float
    user: float
    system: float
    other_threads: float
    """The relay's threads beside that of the ticks: gRPC's, and the writer of recordings."""
    floor_core: float
    bot_core: float
    p50_ms: float
    p99_ms: float
    sent: int
    lost_to_relay: int
    lost_by_relay: int
    not_whole: int
    lost_from_relay: int
    """The callers' sockets were full."""
    floor_lost: int
    late_packets: int
    """Packets that a caller heard more than 20 ms later than their timestamp says."""
    ticks_late: int | None
    """Ticks that the relay did more than 20 ms late; None: a relay that does not count them."""
    floor_ticks_late: int
    tick_late_ms: float
    floor_timer_ms: float
    """The greatest lateness of the floor's timer."""
    rss_kib_a_call: float
    takes_more: bool
    more: dict[str, float]
    """Figures of the JSON alone."""

    @property
    def multiple(self) -> float | None:
        """The relay's core as a multiple of the floor's; None where it has fewer calls."""
        return self.core / self.floor_core if self.floor_core and not self.refused else None

    @property
    def lost(self) -> int:
        """Frames that the relay lost."""
        return self.lost_to_relay + self.lost_by_relay + self.not_whole

    @property
    def late_beyond_ms(self) -> float:
        """The lateness of the latest tick beyond the floor's; not a number where the relay has none."""
        return max(self.tick_late_ms - self.floor_timer_ms, 0.0)  # in this order, it stays not a number

    @property
    def holds(self) -> bool:
        """Whether every call was admitted and carried without a loss or a late tick."""
        return not self.refused and not self.lost and self.late_beyond_ms <= LATE_MS


def row_of(series: str, window: int, load_average: float, relay: RelayWindow, floor: FloorWindow) -> Row:
    """Put the figures of two windows side by side."""
    here, there = relay.heard, floor.heard
    ticks_late = relay.counted.get("ticks_late")
    return Row(
        series=series,
        window=window,
        load_average=load_average,
        calls=relay.asked,
        refused=sum(relay.refusals.values()),
        refusals=relay.refusals,
        core=relay.spent.core,
        user=relay.spent.user,
        system=relay.spent.system,
        other_threads=relay.spent.core - relay.spent.main_thread,
        floor_core=floor.spent.core,
        bot_core=relay.bot_core,
        p50_ms=here.latency.percentile_ms(0.5),
        p99_ms=here.latency.percentile_ms(0.99),
        sent=here.sent,
        lost_to_relay=here.lost.to_relay,
        lost_by_relay=here.lost.by_relay,
        not_whole=here.lost.not_whole,
        lost_from_relay=here.lost.from_relay,
        floor_lost=there.lost.of_relay,
        late_packets=here.lateness.above(LATE_MS),
        ticks_late=None if ticks_late is None else int(ticks_late),
        floor_ticks_late=floor.timer.above(LATE_MS),
        tick_late_ms=relay.tick_late_ms,
        floor_timer_ms=floor.timer.longest_ms,
        rss_kib_a_call=relay.rss_kib_a_call,
        takes_more=relay.takes_more,
        more=_more(relay, floor),
    )


def _more(relay: RelayWindow, floor: FloorWindow) -> dict[str, float]:
    here, there = relay.heard, floor.heard
    return {
        "core_busy": relay.spent.core_busy,
        "floor_core_busy": floor.spent.core_busy,
        "callers_core": relay.callers_core,
        "callers_timer_p99_ms": here.timer.percentile_ms(0.99),
        "callers_timer_ms": here.timer.longest_ms,
        "floor_timer_p99_ms": floor.timer.percentile_ms(0.99),
        "tick_cpu_ms": relay.tick_cpu_ms,
        "longest_ms": here.latency.longest_ms,
        "floor_p50_ms": there.latency.percentile_ms(0.5),
        "floor_p99_ms": there.latency.percentile_ms(0.99),
        "jitter_ms": here.jitter_ms,
        "floor_jitter_ms": there.jitter_ms,
        "latest_packet_ms": here.lateness.longest_ms,
        "floor_late_packets": there.lateness.above(LATE_MS),
        "floor_latest_packet_ms": there.lateness.longest_ms,
        "silent": here.silent,
        "echoed_twice": here.echoed_twice,
        "send_errors": here.send_errors,
        "not_received_in_all": here.sent_in_all - relay.received_in_all,
        **{f"relay_{name}": value for name, value in relay.counted.items() if value},
    }


def best_of(rows: Iterable[Row]) -> dict[tuple[str, int], Row]:
    """Return the best window of each series and number of calls.

    Windows that hold come first, then those with fewer refusals and losses, then the cheapest.
    """
    best: dict[tuple[str, int], Row] = {}
    for row in rows:
        key = (row.series, row.calls)
        if key not in best or _badness(row) < _badness(best[key]):
            best[key] = row
    return best


def _badness(row: Row) -> tuple[bool, int, int, float]:
    return (not row.holds, row.refused, row.lost, row.multiple or row.core)
