"""`sipgw demo`: show the steps as they happen, then the report; the exit status gives the result."""

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sipgw.cli.problems import FAILED, give_up, quieten_libraries
from sipgw.cli.redis_url import RedisFlag

if TYPE_CHECKING:
    from rich.console import Console

    from sipgw.cli.demo.story import Story
    from sipgw.cli.demo.verdict import Evidence


def demo(
    out: Annotated[Path, typer.Option(help="Where recording, picture and logs go.")] = Path("out/demo"),
    redis: RedisFlag = None,
) -> None:
    """Start a gateway, place a real call through it, and show what happened."""
    from rich.console import Console

    from sipgw.cli.demo.story import play
    from sipgw.cli.demo.verdict import reasons_against
    from sipgw.local.errors import LocalError
    from sipgw.siptest import SipTestError

    quieten_libraries()
    console = Console(highlight=False)
    out = out.absolute()
    began = time.monotonic()

    def tell(what: str, detail: str) -> None:
        console.print(
            f"[dim]{time.monotonic() - began:6.2f} s[/]  [bold]{what:<18}[/] {detail}", soft_wrap=True
        )

    try:
        out.mkdir(parents=True, exist_ok=True)
        story = asyncio.run(play(out, tell, redis_url=redis))
    except (LocalError, OSError) as error:
        give_up(f"the gateway did not start: {error}")
    except SipTestError as error:
        give_up(f"the call failed: {error} (logs: {out / 'logs'})")
    picture = _draw(story, out / "call.png")
    evidence = _evidence(story)
    _report(console, story, picture)
    reasons = reasons_against(evidence)
    if reasons:
        for reason in reasons:
            console.print(f"[bold red]failed[/]  {reason}")
        console.print(f"logs: {_short(out / 'logs')}", soft_wrap=True)
        raise SystemExit(FAILED)
    console.print(f"[bold green]all is well[/], in {time.monotonic() - began:.1f} s")


def _draw(story: "Story", path: Path) -> str:
    """Draw the picture; return its path, or the reason why there is none."""
    from sipgw.cli.demo.picture import draw

    try:
        draw(story, path)
    except ImportError:
        return "none: it needs matplotlib (`pip install matplotlib`)"
    return _short(path)


def _evidence(story: "Story") -> "Evidence":
    from sipgw.cli.demo.verdict import Evidence

    assert story.statistics is not None
    return Evidence(
        statistics=story.statistics,
        latency=story.latency,
        digits_sent=story.digits_sent,
        digits_heard=story.digits_heard,
        recorded_levels=_levels(story.recording),
        crashes=tuple(story.crashes),
    )


def _levels(recording: Path | None) -> tuple[int, int] | None:
    """Return the loudest sample of each channel; None when it is no stereo recording."""
    if recording is None:
        return None
    from sipgw.audio.errors import WavError
    from sipgw.audio.wav import read_wav

    try:
        with recording.open("rb") as file:
            samples = read_wav(file).samples
    except (OSError, WavError):
        return None
    if samples.shape[0] != 2 or samples.shape[1] == 0:
        return None
    return int(abs(samples[0].astype(int)).max()), int(abs(samples[1].astype(int)).max())


def _report(console: "Console", story: "Story", picture: str) -> None:
    numbers, latency = story.statistics, story.latency
    assert numbers is not None
    rows = {
        "call": story.call_id,
        "answer time": f"{numbers.answer_time_ms:.0f} ms" if numbers.answer_time_ms is not None else "-",
        "packets": f"{numbers.packets_sent} sent, {numbers.packets_received} received, "
        f"{numbers.packets_lost} lost",
        "jitter": f"{numbers.jitter_ms:.1f} ms; longest gap {numbers.longest_gap_ms:.0f} ms",
    }
    if latency is not None:
        rows["echo latency"] = f"p50 {latency.p50_ms:.0f} ms, p99 {latency.p99_ms:.0f} ms"
        rows["speech back"] = f"{latency.found} of {latency.expected} frames"
    rows["keys"] = f"pressed {story.digits_sent}, heard by the bot {story.digits_heard or 'none'}"
    rows["recording"] = (
        f"{_short(story.recording)} (stereo: caller left, bot right)" if story.recording else "none"
    )
    rows["picture"] = picture
    console.print()
    for label, value in rows.items():
        console.print(f"  [dim]{label:<13}[/] {value}", soft_wrap=True)
    console.print()


def _short(path: Path) -> str:
    """Return the path relative to the working directory when it is below it."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
