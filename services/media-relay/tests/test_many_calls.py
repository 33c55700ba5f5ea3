"""Five hundred calls whose bots all talk: each is played, cleared, marked and credited as one alone is."""

import random
import socket
from dataclasses import dataclass, field

import numpy as np
import pytest

from sipgw.audio import AudioFormat, Codec

CALLS = 500
WIRE = AudioFormat(Codec.PCMU, 8000, 20)
FRAME, TICKS_A_FRAME, SILENCE = 160, 4, 0xFF
CREDIT_LAG = 5 * FRAME
"""Credit is told at least every 100 ms."""


def frame(number):
    """Different for each number below 10,000, and never silence."""
    return bytes([number % 100]) * (FRAME - 1) + bytes([number // 100])


@dataclass
class Talk:
    """The speech of one bot, and what its caller and the bot have heard, by ticks."""

    handle: int
    is_live: bool
    """Whether it speaks frame by frame; else in bursts."""
    begins: int
    clears: int
    says: int
    """Frames before the clear; a bot that speaks live is interrupted by it."""
    says_after: int
    said: int = 0
    heard: list[tuple[int, int]] = field(default_factory=list)
    """The tick and the number of each frame; those after the clear begin at 5000."""
    told: dict[str, tuple[int, object]] = field(default_factory=dict)
    """By mark: the tick, and the event."""

    def heard_until(self, tick):
        return sum(1 for at, _ in self.heard if at <= tick)


@pytest.fixture
def caller():
    """One socket for all callers, so that 500 of them need no 500; the relay's ports tell them apart."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as each:
        each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        each.bind(("127.0.0.1", 0))
        each.setblocking(False)
        yield each


def talks_of(bench, phone, caller, rng):
    """Begin all calls; return the talks by the relay's port."""
    talks = {}
    for number in range(CALLS):
        session = bench.call(phone, f"call-{number}", bot="bot:1")
        caller.sendto(b"\x80\x00" + bytes(10) + bytes(FRAME), phone.target)
        begins = rng.randrange(8, 60)
        talks[phone.target[1]] = Talk(
            session.handle,
            is_live=number % 2 == 1,
            begins=begins,
            clears=begins + rng.randrange(1, 100),
            says=rng.randrange(1, 120),  # more than the near term has
            says_after=rng.randrange(1, 20),
        )
    return talks


def speak(bench, talks, tick):
    """Do what the bots do before this tick."""
    live = [one for one in talks if one.is_live and one.begins <= tick < one.clears]
    live = [one for one in live if (tick - one.begins) % TICKS_A_FRAME == 0 and one.said < one.says]
    if live:
        frames = np.frombuffer(b"".join(frame(one.said) for one in live), np.uint8).reshape(-1, FRAME)
        bench.speech.bot_audio(np.array([one.handle for one in live], np.uint32), frames, WIRE)
        for one in live:
            one.said += 1
    for one in talks:
        if tick == one.begins and not one.is_live:
            bench.speech.bot_speech(one.handle, b"".join(map(frame, range(one.says))), WIRE)
            one.said = one.says
        if tick == one.clears:
            bench.actions.bot_clear(one.handle, "cleared")
            numbers = range(5000, 5000 + one.says_after)
            bench.speech.bot_speech(one.handle, b"".join(map(frame, numbers)), WIRE)
            bench.actions.bot_mark(one.handle, "said")


def hear(caller, talks, tick):
    """Note which frames the callers get."""
    while True:
        try:
            data, (_, port) = caller.recvfrom(2048)
        except BlockingIOError:
            return
        if data[12] != SILENCE:
            talks[port].heard.append((tick, data[12] + 100 * data[-1]))


def test_each_of_500_bots_is_played_cleared_marked_and_credited_exactly(make_bench, fake_bots, caller):
    bench = make_bench(pairs=CALLS, bots=fake_bots)
    phone = bench.phone()
    phone.socket.close()
    phone.address, phone.port = caller.getsockname()
    talks = talks_of(bench, phone, caller, random.Random(3))
    by_handle = {one.handle: one for one in talks.values()}
    seen = 0
    for tick in range(300):
        speak(bench, talks.values(), tick)
        bench.tick()
        hear(caller, talks, tick)
        for handle, event in bench.bots.events[seen:]:
            if event.HasField("played"):
                by_handle[handle].told[event.played.mark] = (tick, event.played)
        seen = len(bench.bots.events)
        for one in talks.values():
            spent = FRAME * len(one.heard)
            assert spent - bench.bots.consumed_bytes.get(one.handle, 0) <= CREDIT_LAG
    assert bench.plane.playout.refused == 0
    for one in talks.values():
        check(one, bench.bots.consumed_bytes[one.handle])


def check(one, consumed):
    """Compare with a scalar account of the same call."""
    before = one.heard_until(one.clears - 1)
    numbers = [number for _, number in one.heard]
    assert numbers == [*range(before), *range(5000, 5000 + one.says_after)]
    ticks = [tick for tick, _ in one.heard[before:]]
    assert ticks[0] - one.clears < TICKS_A_FRAME  # what follows a clear is heard within one frame
    assert set(np.diff(ticks).tolist()) <= {TICKS_A_FRAME}
    _, cleared = one.told["cleared"]
    assert (cleared.cleared, cleared.played_ms) == (True, 20 * before)
    assert cleared.dropped_ms == 20 * (one.said - before)
    at, said = one.told["said"]
    assert (said.cleared, said.played_ms) == (False, 20 * (before + one.says_after))
    assert 0 <= at - ticks[-1] <= TICKS_A_FRAME
    assert consumed == FRAME * (one.said + one.says_after)
