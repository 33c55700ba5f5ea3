"""`sipgw call`: a telephone for scripts; one call shown step by step, or many at a rate."""

import asyncio
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sipgw.cli.problems import FAILED, MISUSED, give_up

if TYPE_CHECKING:
    from sipgw.siptest.load import CallOutcome, CallPlan

_SPEECH_S = 5.0


def call(
    uri: Annotated[str, typer.Argument(help="sip:user@host[:port]")],
    wav: Annotated[Path | None, typer.Option(help="What to say (default: speech-like audio).")] = None,
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
    """Call a SIP address: speak, press keys, listen, hang up. Exit status 0: answered, with audio back."""
    from sipgw.audio.errors import WavError
    from sipgw.siptest import Login, NoRoute, SipTestError, speech_like
    from sipgw.siptest.audio_file import read_speech
    from sipgw.siptest.load import CallPlan

    try:
        speech = read_speech(wav) if wav is not None else speech_like(duration or _SPEECH_S)
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
        print(json.dumps(_as_object(outcomes)))
    elif calls == 1:
        _tell_one(outcomes[0])
    else:
        _tell_many(outcomes)
    raise SystemExit(FAILED if any(outcome.failure for outcome in outcomes) else 0)


async def _call(plan: "CallPlan", calls: int, rate: float, *, quiet: bool) -> "list[CallOutcome]":
    from sipgw.sip import parse_uri
    from sipgw.siptest import SipPhone
    from sipgw.siptest.load import place_call, place_calls
    from sipgw.siptest.resolve import destination_of, local_address_towards

    def tell(line: str) -> None:
        if not quiet:
            print(line, flush=True)

    host = local_address_towards(destination_of(parse_uri(plan.uri)))
    async with await SipPhone.open(host, user="sipgw") as phone:
        if calls == 1:
            return [await place_call(phone, plan, tell)]
        return await place_calls(phone, plan, calls=calls, per_second=rate, tell=tell)


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


def _as_object(outcomes: "list[CallOutcome]") -> dict[str, object]:
    from sipgw.siptest.load import summarise_calls

    each = [asdict(outcome) for outcome in outcomes]
    return each[0] if len(each) == 1 else {"summary": asdict(summarise_calls(outcomes)), "calls": each}
