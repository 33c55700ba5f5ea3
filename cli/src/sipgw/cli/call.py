"""`sipgw call`: a telephone for scripts; one call shown step by step, or many at a rate."""

import asyncio
import json
import signal
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sipgw.cli.problems import FAILED, MISUSED, give_up

if TYPE_CHECKING:
    from sipgw.siptest.load import CallOutcome, CallPlan
    from sipgw.siptest.media import Audio

_SPEECH_S = 5.0
_MADE_S = 30.0


def call(
    uri: Annotated[str, typer.Argument(help="sip:user@host[:port]")],
    wav: Annotated[Path | None, typer.Option(help="WAV file to play (default: speech-like audio).")] = None,
    dtmf: Annotated[str, typer.Option(help="Keys to press: 0-9 * # A-D.")] = "",
    calls: Annotated[int, typer.Option(min=1, help="How many calls.")] = 1,
    rate: Annotated[float, typer.Option(min=0.01, help="Calls begun per second.")] = 10.0,
    duration: Annotated[
        float | None,
        typer.Option(min=0.0, help="Seconds from answer to BYE (default: as long as the audio)."),
    ] = None,
    user: Annotated[str | None, typer.Option(help="User name, if the gateway asks for one.")] = None,
    password: Annotated[
        str, typer.Option(envvar="SIPGW_PASSWORD", help="Its password; the environment variable is safer.")
    ] = "",
    patience: Annotated[
        float, typer.Option(min=0.0, help="Seconds to retry for while the response is 503, or none comes.")
    ] = 0.0,
    as_json: Annotated[bool, typer.Option("--json", help="The result as one JSON object.")] = False,
) -> None:
    """Call a SIP address: speak, press keys, listen, hang up. Exit status 0: answered, with audio back.

    Ctrl-C or SIGTERM hangs up at once, and the result is shown; a second one ends the command.
    """
    from sipgw.audio.errors import WavError
    from sipgw.siptest import Login, NoRoute, SipTestError
    from sipgw.siptest.audio_file import read_speech
    from sipgw.siptest.load import CallPlan

    try:
        speech = read_speech(wav) if wav is not None else _speech(duration or _SPEECH_S)
    except (OSError, WavError) as error:
        give_up(f"{wav}: {error}", status=MISUSED)
    login = Login(user, password) if user is not None else None
    plan = CallPlan(
        uri if ":" in uri else f"sip:{uri}", speech, dtmf, duration, patience_s=patience, login=login
    )
    try:
        outcomes = asyncio.run(_call(plan, calls, rate, quiet=as_json))
    except NoRoute as error:
        give_up(error, status=MISUSED)
    except (SipTestError, ValueError) as error:
        give_up(error)
    if as_json:
        print(json.dumps(_as_object(outcomes, is_one=calls == 1)))
    elif calls == 1:
        _tell_one(outcomes[0])
    else:
        _tell_many(outcomes)
    raise SystemExit(FAILED if any(outcome.failure for outcome in outcomes) else 0)


def _speech(duration_s: float) -> "Audio":
    """Make so much speech-like audio; a long one repeats, so that it is made in no time."""
    import numpy as np

    from sipgw.siptest import speech_like

    made = speech_like(min(duration_s, _MADE_S))
    return np.resize(made, round(len(made) * max(1.0, duration_s / _MADE_S)))


async def _call(plan: "CallPlan", calls: int, rate: float, *, quiet: bool) -> "list[CallOutcome]":
    from sipgw.sip import parse_uri
    from sipgw.siptest import SipPhone
    from sipgw.siptest.load import place_call, place_calls
    from sipgw.siptest.resolve import destination_of, local_address_towards

    def tell(line: str) -> None:
        if not quiet:
            print(line, flush=True)

    host = local_address_towards(destination_of(parse_uri(plan.uri)))
    stop = asyncio.Event()
    _set_at_signal(stop)
    async with await SipPhone.open(host, user="sipgw") as phone:
        if calls == 1:
            return [await place_call(phone, plan, tell, stop=stop)]
        return await place_calls(phone, plan, calls=calls, per_second=rate, tell=tell, stop=stop)


def _set_at_signal(stop: asyncio.Event) -> None:
    """Set the event at the first signal that asks for the end; let a second one end the process.

    A signal that the process was started to ignore, for example by nohup, stays ignored.
    """
    loop = asyncio.get_running_loop()
    ending = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    heeded = [number for number in ending if signal.getsignal(number) is not signal.SIG_IGN]

    def on_signal() -> None:
        stop.set()
        for number in heeded:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)

    for number in heeded:
        loop.add_signal_handler(number, on_signal)


def _tell_one(outcome: "CallOutcome") -> None:
    numbers = outcome.statistics
    print(
        f"packets sent {numbers.packets_sent}, received {numbers.packets_received}, "
        f"lost {numbers.packets_lost}"
    )
    print(f"jitter {numbers.jitter_ms:.1f} ms, longest gap {numbers.longest_gap_ms:.0f} ms")
    if outcome.latency is not None:
        echo = outcome.latency
        print(
            f"echo latency p50 {echo.p50_ms:.0f} ms, p99 {echo.p99_ms:.0f} ms "
            f"({echo.found} of {echo.expected} frames came back)"
        )
    if numbers.digits_received:
        print(f"digits heard: {numbers.digits_received}")
    print(f"failed: {outcome.failure}" if outcome.failure else "ok")


def _tell_many(outcomes: "list[CallOutcome]") -> None:
    from sipgw.siptest.load import summarise_calls

    summary = summarise_calls(outcomes)
    failed = sum(summary.failures.values())
    print(f"{summary.calls} calls, {summary.calls - failed} good, {failed} failed")
    for reason, count in summary.failures.most_common():
        print(f"  {count} x {reason}")
    if summary.answer_p50_ms is not None:
        print(f"answer time p50 {summary.answer_p50_ms:.0f} ms, p99 {summary.answer_p99_ms:.0f} ms")
    print(
        f"packets sent {summary.packets_sent}, received {summary.packets_received}, "
        f"lost {summary.packets_lost}"
    )
    if summary.echo_p50_ms is not None:
        print(f"echo latency p50 {summary.echo_p50_ms:.0f} ms, p99 {summary.echo_p99_ms:.0f} ms")


def _as_object(outcomes: "list[CallOutcome]", *, is_one: bool) -> dict[str, object]:
    from sipgw.siptest.load import summarise_calls

    each = [asdict(outcome) for outcome in outcomes]
    return each[0] if is_one else {"summary": asdict(summarise_calls(outcomes)), "calls": each}
