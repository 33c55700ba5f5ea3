"""Kill each part of a gateway under calls: calls lost, the worst gap, and when new calls succeed again.

    python bench/crash_matrix.py --calls 24          # or: make faults

Every case starts a gateway of its own from real processes on this machine (Redis, a registry, two relays,
two edges, the SDK's echo bot), lets the callers talk without a pause, and breaks something. A gap is the
longest time in which a caller does not hear its own words from the bot. New calls are placed four times a
second at an edge that lives; "again after" is how long after the fault the last of them failed. `node`
kills the processes that share a node; a node whose network is cut takes a cluster: `make e2e
ARGS=e2e/cluster/test_node_cut.py`.
"""

import argparse
import asyncio
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "e2e" / "kit"))

from clusterkit.callers import Callers, Findings  # noqa: E402
from clusterkit.report import Report  # noqa: E402
from gatewaykit.gateway import HOST, Gateway  # noqa: E402

from sipgw.siptest import SipPhone, SipTestError  # noqa: E402

OUT = ROOT / "out" / "faults"
_PROBE_PERIOD_S = 0.25
_PROBE_PATIENCE_S = 5.0
_RECOVERY_S = 12.0
_CALLS_PER_RELAY = 60


@dataclass(frozen=True)
class Case:
    """One fault: `begin` breaks, `end` repairs after `lasts_s`. New calls go to edge `living_edge`."""

    name: str
    begin: Callable[[Gateway], None]
    end: Callable[[Gateway], None] | None = None
    lasts_s: float = 0.0
    living_edge: int = 1


def _freeze(part: str, number: int) -> Callable[[Gateway], None]:
    return lambda gateway: getattr(gateway, part)[number].signal(signal.SIGSTOP)


def _thaw(part: str, number: int) -> Callable[[Gateway], None]:
    return lambda gateway: getattr(gateway, part)[number].signal(signal.SIGCONT)


def _kill_node(gateway: Gateway) -> None:
    gateway.edges[0].kill()
    gateway.relays[0].kill()


def _stop_node(gateway: Gateway) -> None:
    for process in (gateway.edges[0], gateway.relays[0]):
        process.signal(signal.SIGSTOP)


def _continue_node(gateway: Gateway) -> None:
    for process in (gateway.edges[0], gateway.relays[0]):
        process.signal(signal.SIGCONT)


CASES = (
    Case("edge killed", lambda gateway: gateway.edges[0].kill()),
    Case("edge stopped 8 s", _freeze("edges", 0), _thaw("edges", 0), 8.0),
    Case("relay killed", lambda gateway: gateway.relays[0].kill()),
    Case("relay stopped 6 s", _freeze("relays", 0), _thaw("relays", 0), 6.0),
    Case(
        "registry killed, started again",
        lambda gateway: gateway.registry.kill(),
        lambda gateway: gateway.restart_registry(),
    ),
    Case(
        "Redis killed, 3 s later a new one, empty",
        lambda gateway: gateway.redis.stop(),
        lambda gateway: gateway.redis.start(),
        3.0,
    ),
    Case(
        "bot killed, started again",
        lambda gateway: gateway.bot.kill(),
        lambda gateway: gateway.restart_bot(),
    ),
    Case("node: its edge and its relay killed", _kill_node),
    Case("node: its edge and its relay stopped 8 s", _stop_node, _continue_node, 8.0),
)


@dataclass(frozen=True)
class Probe:
    """A new call: its time in seconds after the fault, and its result."""

    placed_s: float
    failure: str


class Prober:
    """Places a new call four times a second until `stop`, each hung up as soon as it is answered."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self.probes: list[Probe] = []

    async def run(self, stop: asyncio.Event) -> None:
        began = time.monotonic()
        async with await SipPhone.open(HOST, user="probe") as phone, asyncio.TaskGroup() as calls:
            while not stop.is_set():
                calls.create_task(self._place(phone, time.monotonic() - began))
                await asyncio.sleep(_PROBE_PERIOD_S)

    async def _place(self, phone: SipPhone, placed_s: float) -> None:
        failure = ""
        try:
            call = await phone.call(self._uri, timeout_s=_PROBE_PATIENCE_S, codecs=("PCMU",))
            await call.hangup(_PROBE_PATIENCE_S)
        except SipTestError as error:
            failure = str(error)
        self.probes.append(Probe(placed_s, failure))

    def verdict(self) -> str:
        failed = [probe for probe in self.probes if probe.failure]
        if not failed:
            return f"none of {len(self.probes)} new calls failed"
        last_s = max(probe.placed_s for probe in failed) + _PROBE_PERIOD_S
        reasons = ", ".join(sorted({probe.failure for probe in failed}))
        return f"new calls again after {last_s:.1f} s ({len(failed)} of {len(self.probes)} failed: {reasons})"


def measure(case: Case, calls: int) -> tuple[Findings, str]:
    """Measure one fault on a fresh gateway."""
    with tempfile.TemporaryDirectory(prefix="sg") as scratch:
        gateway = Gateway(Path(scratch), edges=2, relays=2, calls_per_relay=_CALLS_PER_RELAY).start()
        try:
            with Callers([gateway.sip(0), gateway.sip(1)], "echo", pauses=False) as callers:
                callers.dial(calls)
                callers.rest(3)
                callers.mark()
                verdict = asyncio.run(_break(gateway, case))
                findings = callers.findings()
                callers.edges = [gateway.sip(case.living_edge)]
                return findings, verdict
        finally:
            gateway.stop()


async def _break(gateway: Gateway, case: Case) -> str:
    host, port = gateway.sip(case.living_edge)
    prober, stop = Prober(f"sip:echo@{host}:{port}"), asyncio.Event()
    case.begin(gateway)
    probing = asyncio.create_task(prober.run(stop))
    if case.end is not None:
        await asyncio.sleep(case.lasts_s)
        await asyncio.to_thread(case.end, gateway)
    await asyncio.sleep(_RECOVERY_S)
    stop.set()
    await probing
    return prober.verdict()


def main() -> int:
    """Print the table and write it to out/faults/report.md; fail when a call was lost."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--calls", type=int, default=24)
    parser.add_argument("--case", action="append", help="part of a case's name; may be given several times")
    options = parser.parse_args()
    chosen = [case for case in CASES if not options.case or any(part in case.name for part in options.case)]
    report, lost = Report(), 0
    for case in chosen:
        findings, verdict = measure(case, options.calls)
        report.add(case.name, findings, verdict)
        lost += findings.lost
        print(f"{case.name}: {findings.lost} lost, {findings.gaps}; {verdict}", flush=True)
        for reason in sorted(set(findings.why_lost)):
            print(f"  lost: {reason}", flush=True)
    report.write(OUT / "report.md")
    print(f"\n{report.text()}\nwritten to {(OUT / 'report.md').relative_to(ROOT)}")
    return 1 if lost else 0


if __name__ == "__main__":
    raise SystemExit(main())
