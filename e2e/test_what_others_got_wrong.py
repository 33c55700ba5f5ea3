"""This gateway does not have the known faults of another gateway of this kind, in C++."""

import asyncio
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from gatewaykit.bots import NotingBot, StartBot
from gatewaykit.gateway import Gateway, eventually
from gatewaykit.phone import Phone
from gatewaykit.rtp import FRAME, RtpPort, echoed_frames, echoed_share, longest_echo, noise, worst_gap
from gatewaykit.service import Service

from sipgw.runtime.patience import patient

pytestmark = pytest.mark.system


LASTING_S = 0.040


@pytest.fixture
def noting_bot(gateway: Gateway, tmp_path: Path) -> Iterator[NotingBot]:
    bot = NotingBot("noting-bot", tmp_path, gateway.routes["missed"].address)
    bot.start()
    yield bot
    bot.kill()


@pytest.fixture
def frozen_bot(gateway: Gateway, tmp_path: Path) -> Iterator[Service]:
    listen = gateway.routes["frozen"].address
    bot = Service("frozen-bot", [sys.executable, "-m", "sipgw.bot.echo", "--listen", listen], tmp_path)
    bot.start()
    yield bot
    bot.kill()


@pytest.mark.parametrize(
    "line",
    [
        "a=rtpmap:",
        "a=rtpmap:0",
        "a=rtpmap:0 ",
        "a=rtpmap:x PCMU/8000",
        "a=rtpmap:0 PCMU/",
        "a=rtpmap:0 PCMU/eight",
        "a=rtpmap:99999999999999999999 PCMU/8000",
        "a=rtpmap:-1 PCMU/8000",
        "a=rtpmap:101 telephone-event/" + "9" * 400,
    ],
)
async def test_a_malformed_rtpmap_kills_neither_the_gateway_nor_its_calls(
    gateway: Gateway, phone: Phone, line: str
) -> None:
    bystander = await phone.call("builtin", gateway.sip())
    call = await phone.new_call("builtin", gateway.sip())
    call.sdp = call.offer().replace("a=rtpmap:0 PCMU/8000", line)
    assert (await call.invite()).status in {200, 400, 488}
    audio = noise(0.6, seed=8)
    await bystander.rtp.stream(audio, bystander.media)
    assert await bystander.rtp.hears(audio, 0.5)
    assert (await bystander.bye()).status == 200


async def test_a_malformed_rtpmap_costs_only_its_own_payload_type(gateway: Gateway, phone: Phone) -> None:
    call = await phone.new_call("builtin", gateway.sip())
    call.sdp = call.offer().replace("a=rtpmap:8 PCMA/8000", "a=rtpmap:8 PCMA/80x0")
    answer = await call.invite()
    assert answer.status == 200
    assert b"RTP/AVP 0" in answer.body


async def test_a_bot_that_is_killed_and_starts_at_once_is_back_and_hears_what_it_missed(
    gateway: Gateway, phone: Phone, noting_bot: NotingBot
) -> None:
    other = await phone.call("builtin", gateway.sip())
    call = await phone.call("missed", gateway.sip())
    audio = noise(60, seed=10)
    talking = asyncio.create_task(call.rtp.stream(audio, call.media))

    async def heard_live(frames: int, begin: int = 0) -> bool:
        return sum(not is_replay for _, is_replay in noting_bot.frames(begin)) >= frames

    await eventually(lambda: heard_live(25), 10)
    begin = noting_bot.log_size()
    killed_at = time.monotonic()
    noting_bot.kill()
    last_heard = noting_bot.frames()[-1][0]
    await asyncio.to_thread(noting_bot.start)
    start_s = time.monotonic() - killed_at
    await eventually(lambda: heard_live(25, begin), 10)
    talking.cancel()

    frames = noting_bot.frames(begin)
    seqs = [seq for seq, _ in frames]
    assert seqs == sorted(set(seqs)), "not in order, or twice"
    assert seqs[0] - last_heard <= 12, "more is missing than was under way when the bot died"
    replayed = [seq for seq, is_replay in frames if is_replay]
    assert replayed == seqs[: len(replayed)], "live frames before replayed ones"
    # A relay that a busy machine holds up leaves out a period here and there.
    assert len(replayed) >= 0.9 * (replayed[-1] + 1 - replayed[0]), "with holes"
    assert replayed[-1] + 1 - replayed[0] >= (start_s - 0.25) / 0.02, "not all of the gap"
    gap_s = worst_gap(call.rtp, audio)
    assert gap_s < 1.1 * start_s + patient(0.4), f"{gap_s:.2f} s without echo, {start_s:.2f} s without bot"
    assert (await call.bye()).status == 200
    assert (await other.bye()).status == 200, "the next BYE kills nothing"
    assert all(service.is_running for service in gateway.services)


async def test_a_bot_that_stays_away_ends_its_calls_after_the_routes_limit(
    gateway: Gateway, phone: Phone, start_bot: StartBot
) -> None:
    bot = start_bot(gateway, "fragile")
    call = await phone.call("fragile", gateway.sip())
    await call.rtp.stream(noise(0.5, seed=9), call.media)
    bot.kill()
    await call.wait_ended(13)


async def test_two_half_second_pauses_of_the_bot_leave_no_lasting_delay(
    gateway: Gateway, phone: Phone, start_bot: StartBot, frozen_bot: Service
) -> None:
    """One bot pauses by itself, on StreamCall; the process of another, on Trunk, is stopped by a signal.

    A busy machine delays calls too: the delay of a call without pauses beside them is subtracted.
    """
    start_bot(gateway, "pause", "pause")
    routes = ("pause", "frozen", "echo")
    audio = [noise(9, seed=seed) for seed in (11, 12, 13)]
    calls = [await phone.call(route, gateway.sip()) for route in routes]
    freezing = asyncio.create_task(stand_still_twice(frozen_bot))
    await asyncio.gather(
        *(call.rtp.stream(said, call.media) for call, said in zip(calls, audio, strict=True))
    )
    await freezing
    for call in calls:
        await call.bye()
    late = {
        route: later_by(echoed_frames(said, call.rtp))
        for route, call, said in zip(routes, calls, audio, strict=True)
    }
    for route in ("pause", "frozen"):
        # A lasting delay is there in every half second.
        halves = late[route].keys() & late["echo"].keys()
        assert halves, "too few frames came back whole"
        left = min(late[route][half] - late["echo"][half] for half in halves)
        assert left < LASTING_S, f"{route}: {left:.3f} s of delay were left"


def later_by(delays: list[tuple[int, float]]) -> dict[int, float]:
    """Return how much later the frames of each half second after the pauses came than those before them."""
    before = median([delay for frame, delay in delays if 20 <= frame < 45])
    halves = {start: [d for frame, d in delays if 0 <= frame - start < 25] for start in range(250, 450, 25)}
    return {start: median(one) - before for start, one in halves.items() if len(one) >= 10}


async def stand_still_twice(bot: Service) -> None:
    for _ in range(2):
        await asyncio.sleep(1)
        bot.signal(signal.SIGSTOP)
        await asyncio.sleep(0.5)
        bot.signal(signal.SIGCONT)


def median(delays: list[float]) -> float:
    assert len(delays) >= 10, f"only {len(delays)} frames came back whole"
    return sorted(delays)[len(delays) // 2]


async def test_a_caller_who_sends_on_after_bye_is_not_heard_in_the_next_call_on_that_port(
    tight_gateway: Gateway, phone: Phone
) -> None:
    """With two ports and a caller that never stops, the next call gets the other port or 503."""
    gateway = tight_gateway
    first = await phone.call("builtin", gateway.sip())
    ghost = noise(30, seed=12)
    haunting = asyncio.create_task(first.rtp.stream(ghost, first.media))
    await asyncio.sleep(0.3)
    await first.bye()
    served = 0
    for number in range(6):
        call = await phone.new_call("builtin", gateway.sip())
        answer = await call.invite()
        if answer.status == 200:
            served += 1
            audio = noise(1.0, seed=200 + number)
            await call.rtp.stream(audio, call.media)
            await asyncio.sleep(0.2)
            await call.bye()
            assert longest_echo(ghost, call.rtp.audio()) < FRAME, f"call {number} hears the dead one"
            assert echoed_share(audio, call.rtp.audio())[0] >= 0.5, f"call {number} does not hear itself"
        else:
            assert answer.status == 503, answer.start
            assert int(answer["retry-after"].split()[0]) > 0
        await asyncio.sleep(0.8)
    haunting.cancel()
    assert served >= 2, f"{served} of 6 calls were served"


async def test_a_stranger_who_sends_to_a_calls_port_is_not_heard(gateway: Gateway, phone: Phone) -> None:
    call = await phone.call("builtin", gateway.sip())
    stranger = await RtpPort.open()
    mine, strange = noise(2, seed=13), noise(1.5, seed=14)
    intruding = asyncio.create_task(_after(0.4, stranger.stream(strange, call.media)))
    await call.rtp.stream(mine, call.media)
    await intruding
    assert longest_echo(strange, call.rtp.audio()) < FRAME
    assert echoed_share(mine, call.rtp.audio())[0] >= 0.7
    assert stranger.received == []
    stranger.close()


async def _after(seconds: float, work) -> None:
    await asyncio.sleep(seconds)
    await work


async def test_a_bot_stream_that_stops_reading_does_not_silence_the_others(
    gateway: Gateway, phone: Phone, start_bot: StartBot
) -> None:
    bot = start_bot(gateway, "deaf", "deaf")
    stuck = await phone.call("deaf", gateway.sip())
    feeding = asyncio.create_task(stuck.rtp.stream(noise(20, seed=15), stuck.media))

    async def has_stopped() -> bool:
        return bool(bot.said("stopped_reading"))

    await eventually(has_stopped, 5)
    await asyncio.sleep(3)  # long enough for every buffer between us and the bot to fill
    for number in range(3):
        audio = noise(2, seed=16 + number)
        other = await phone.call("deaf", gateway.sip())
        await other.rtp.stream(audio, other.media)
        assert await other.rtp.hears(audio, 0.7), f"call {number} beside the stuck one"
        await other.bye()
    feeding.cancel()
    assert (await stuck.bye()).status == 200


async def test_the_eleventh_call_on_a_bot_with_ten_workers_is_ended_and_the_log_says_why(
    gateway: Gateway, phone: Phone, start_bot: StartBot
) -> None:
    start_bot(gateway, "ten", "echo", "--workers", "10")
    calls = [await phone.call("ten", gateway.sip(number % 2)) for number in range(10)]
    sounds = [noise(5, seed=300 + number) for number in range(10)]
    talking = [
        asyncio.create_task(call.rtp.stream(sound, call.media))
        for call, sound in zip(calls, sounds, strict=True)
    ]
    await asyncio.sleep(0.5)
    eleventh = await phone.new_call("ten", gateway.sip())
    answer = await eleventh.invite()
    if answer.status == 200:
        talk = asyncio.create_task(eleventh.rtp.stream(noise(5, seed=311), eleventh.media))
        await eleventh.wait_ended(6)
        talk.cancel()
    else:
        assert answer.status in {480, 503}
    said = "\n".join(edge.tail() for edge in gateway.edges) + "\n".join(r.tail() for r in gateway.relays)
    assert "silent" in said, "no log line says that the bot said nothing"
    await asyncio.gather(*talking)
    for call, sound in zip(calls, sounds, strict=True):
        assert not call.ended.is_set()
        assert echoed_share(sound, call.rtp.audio())[0] >= 0.6


async def test_a_burst_of_speech_is_played_whole(
    gateway: Gateway, phone: Phone, start_bot: StartBot, tmp_path: Path
) -> None:
    speech = tmp_path / "speech.ulaw"
    speech.write_bytes(noise(20, seed=17))
    start_bot(gateway, "burst", "talk", "--speech", str(speech))
    call = await phone.call("burst", gateway.sip())
    await call.rtp.stream(noise(21, seed=18), call.media)
    whole = 19.9 * 8000

    async def is_heard() -> bool:
        return longest_echo(speech.read_bytes(), call.rtp.audio()) >= whole

    await eventually(is_heard, 10)
