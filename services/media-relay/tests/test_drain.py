"""A draining relay asks edges to move its calls; a call that arrives from another relay continues; the
session of a call that has left is silent.
"""

import numpy as np
import pytest
from structlog.testing import capture_logs

from sipgw.api.config.v1 import config_pb2
from sipgw.api.relay.v1 import control_pb2 as pb
from sipgw.media_relay.app import DOUBTFUL_STALL_S, wait_for_calls
from sipgw.media_relay.calls.housekeeping import DOUBT_S, UNCONFIRMED_S
from sipgw.media_relay.load.tick import TICK_S
from sipgw.media_relay.settings import DrainTimes

LOUD = bytes([0x00]) * 160
QUIET = b"\xff" * 160


def asked(bench):
    return [e.call_id for e in bench.edge.events if e.WhichOneof("event") == "move_requested"]


def talk(bench, phone, frames, payload=LOUD):
    bench.talk(phone, frames, payload)


# -- drain


def test_nobody_is_asked_to_leave_while_the_relay_serves(bench):
    phone = bench.phone()
    bench.call(phone)
    talk(bench, phone, 100, QUIET)
    assert asked(bench) == []


def test_a_call_is_asked_to_leave_at_a_pause_of_both(bench):
    phone = bench.phone()
    bench.call(phone)
    talk(bench, phone, 20)
    bench.relay.set_draining(True)
    talk(bench, phone, 50)
    assert asked(bench) == [], "in mid-word"
    talk(bench, phone, 30, QUIET)
    assert asked(bench) == ["call-1"]
    assert not bench.edge.of("move_requested")[0].at_deadline


def test_what_the_bot_has_still_to_say_is_no_pause(bot_bench):
    phone = bot_bench.phone()
    session = bot_bench.call(phone, bot="bot:9")
    session.can_resume = True
    talk(bot_bench, phone, 10, QUIET)
    bot_bench.relay.set_draining(True)
    bot_bench.speech.bot_speech(session.handle, QUIET * 100, session.media.wire)
    talk(bot_bench, phone, 60, QUIET)
    assert asked(bot_bench) == [], "800 ms of it are left"
    talk(bot_bench, phone, 40, QUIET)
    assert asked(bot_bench) == ["call-1"]


def test_at_the_deadline_calls_leave_in_mid_word(make_bench):
    bench = make_bench()
    phone = bench.phone()
    bench.call(phone)
    bench.relay.drain.begin(bench.number, 1.0)
    talk(bench, phone, 45)
    assert asked(bench) == []
    talk(bench, phone, 15)
    assert asked(bench) == ["call-1"]
    assert bench.edge.of("move_requested")[0].at_deadline


@pytest.mark.parametrize(
    ("own", "config", "expected"),
    [
        (DrainTimes(590.0), {}, (590.0, 60.0, 60.0)),
        (
            DrainTimes(590.0),
            {"drain_deadline_seconds": 300, "drain_grace_seconds": 400},
            (400.0, 300.0, 200.0),
        ),
        (DrainTimes(5.0), {"drain_deadline_seconds": 0, "drain_grace_seconds": 600}, (5.0, 0.0, 0.0)),
        (DrainTimes(5.0), {"drain_deadline_seconds": 60, "drain_grace_seconds": 60}, (5.0, 60.0, 2.5)),
        (DrainTimes(12.0, 0.5, has_own_deadline=True), {"drain_deadline_seconds": 60}, (12.0, 0.5, 0.5)),
    ],
)
def test_the_config_says_how_long_a_drain_takes_within_what_the_process_has(own, config, expected):
    times = own.following(config_pb2.GatewaySettings(**config))
    assert (times.most_s, times.deadline_s, times.stopping_deadline_s) == expected


@pytest.mark.parametrize(("longest_s", "said"), [(0.0, []), (0.001, ["drain_timed_out"])])
async def test_only_a_relay_that_waited_for_its_calls_says_that_the_time_was_up(bench, longest_s, said):
    bench.call(bench.phone())
    with capture_logs() as logs:
        await wait_for_calls(bench.relay, longest_s)
    assert [log["event"] for log in logs] == said


async def test_a_relay_without_calls_waits_for_none(bench):
    with capture_logs() as logs:
        await wait_for_calls(bench.relay, 60.0)
    assert logs == []


def test_calls_leave_twenty_a_second(make_bench):
    bench = make_bench(pairs=12)
    for number in range(12):
        bench.call(bench.phone(), f"call-{number}")
    bench.relay.drain.begin(bench.number, 0)
    bench.tick(80)
    first = len(asked(bench))
    bench.tick(160)
    assert 6 <= first <= 10
    assert sorted(asked(bench)) == sorted(f"call-{number}" for number in range(12))


def test_a_call_that_stays_is_asked_about_again_and_no_more_after_the_drain(bench):
    phone = bench.phone()
    bench.call(phone)
    bench.relay.drain.begin(bench.number, 0)
    bench.tick(100)
    assert len(asked(bench)) == 1
    bench.tick(2000)
    assert len(asked(bench)) == 2
    bench.relay.set_draining(False)
    bench.tick(4000)
    assert len(asked(bench)) == 2


@pytest.mark.parametrize("why", ["not started", "no resume", "last words"])
def test_some_calls_are_not_asked(bot_bench, why):
    phone = bot_bench.phone()
    session = bot_bench.call(phone, bot="bot:9", start=why != "not started")
    session.can_resume = why != "no resume"
    if why == "last words":
        bot_bench.speech.bot_speech(session.handle, LOUD * 200, session.media.wire)
        bot_bench.actions.bot_hangup(session.handle, "", at_once=False)
    bot_bench.relay.drain.begin(bot_bench.number, 0)
    bot_bench.tick(200)
    assert asked(bot_bench) == []


# -- a call arrives from another relay


def allocate(bench, phone, *, bot="bot:9", elapsed_ms=60_000, bot_at_start=True, **more):
    return pb.Allocate(
        media=bench.media(phone),
        bot=pb.BotSpec(endpoint=bot, epoch=2, preferred_address="192.0.2.20:9090"),
        continuation=pb.Continuation(elapsed_ms=elapsed_ms, bot_at_start=bot_at_start),
        **more,
    )


def test_the_bot_stream_of_a_call_that_is_still_elsewhere_opens_at_start(bot_bench):
    phone = bot_bench.phone()
    assert bot_bench.command("a", allocate=allocate(bot_bench, phone)).status == pb.COMMAND_STATUS_OK
    assert bot_bench.bots.calls == {}
    assert [call.endpoint for call in bot_bench.bots.warmed] == ["bot:9"], "connected already"
    bot_bench.command("a", generation=2, start=pb.Start())
    (call,) = bot_bench.bots.calls.values()
    assert call.resumed
    assert call.preferred_address == "192.0.2.20:9090"


def test_after_a_death_it_opens_at_once(bot_bench):
    bot_bench.command("a", allocate=allocate(bot_bench, bot_bench.phone(), bot_at_start=False))
    assert len(bot_bench.bots.calls) == 1


def test_the_bots_axis_goes_on_where_the_call_is(bot_bench):
    phone = bot_bench.phone()
    result = bot_bench.command("a", allocate=allocate(bot_bench, phone))
    phone.target = (result.allocated.address, result.allocated.rtp_port)
    bot_bench.tick(200)  # a second until the caller has answered
    bot_bench.command("a", generation=2, start=pb.Start())
    talk(bot_bench, phone, 10)
    seqs = np.concatenate([block.seq for _, block in bot_bench.bots.blocks])
    assert 3050 <= seqs[0] <= 3052
    assert (np.diff(seqs.astype(np.int64)) == 1).all()


def test_each_relay_records_into_a_file_of_its_own(bench, tmp_path):
    phone = bench.phone()
    for part, name in ((1, "a.wav"), (3, "a.3.wav")):
        spec = allocate(
            bench, phone, bot="builtin:echo", recording=pb.RecordingSpec(path=str(tmp_path), part=part)
        )
        result = bench.command("a", generation=part, allocate=spec)
        phone.target = (result.allocated.address, result.allocated.rtp_port)
        bench.command("a", generation=part, start=pb.Start())
        talk(bench, phone, 60)
        bench.command("a", generation=part + 1, release=pb.Release(moved=True))
        assert bench.edge.of("session_ended")[-1].totals.recording_path == str(tmp_path / name)


# -- a call leaves


def test_a_released_call_that_moved_is_not_hung_up_at_its_bot(bot_bench):
    session = bot_bench.call(bot_bench.phone(), bot="bot:9")
    bot_bench.command("call-1", generation=2, release=pb.Release(reason="moved", moved=True))
    assert bot_bench.bots.moved == {session.handle: True}


def test_a_bot_that_says_superseded_ends_the_session_here_and_not_the_call(bot_bench):
    session = bot_bench.call(bot_bench.phone(), bot="bot:9")
    bot_bench.actions.bot_superseded(session.handle)
    assert len(bot_bench.sessions) == 0
    assert bot_bench.bots.moved == {session.handle: True}
    assert bot_bench.edge.of("session_ended")[0].reason == "another relay has the call"


def test_a_relay_that_stood_still_sends_nothing_until_an_edge_says_that_the_call_is_still_here(bench):
    phone = bench.phone()
    bench.call(phone)
    talk(bench, phone, 20)
    phone.received()
    bench.stall(int(DOUBTFUL_STALL_S / TICK_S) + 1)
    talk(bench, phone, 20)
    assert phone.received() == []
    assert bench.command("call-1", generation=2, adopt=pb.Adopt()).status == pb.COMMAND_STATUS_OK
    said = bench.talk(phone, 20)
    assert said[-5] in phone.heard()


def test_and_frees_what_nobody_says_so_of(bench):
    bench.call(bench.phone())
    bench.tick(20)
    bench.stall(int(DOUBTFUL_STALL_S / TICK_S) + 1)
    bench.tick(2300)
    assert len(bench.sessions) == 0


def test_without_an_edge_a_caller_that_goes_on_sending_here_gets_its_call_back(bench):
    """All edges may be restarting when the machine stands still: the call must neither stay mute nor end."""
    phone = bench.phone()
    bench.call(phone)
    talk(bench, phone, 20)
    bench.stall(int(DOUBTFUL_STALL_S / TICK_S) + 1)
    talk(bench, phone, int((DOUBT_S + 1.1) / 0.02))
    phone.received()
    said = bench.talk(phone, 20)
    assert said[-5] in phone.heard()
    talk(bench, phone, int(UNCONFIRMED_S / 0.02))
    assert len(bench.sessions) == 1


def test_a_caller_that_sends_elsewhere_after_a_stall_hears_no_more_of_this_relay(bench):
    """Packets sent before the stall wait in the socket and prove nothing."""
    phone = bench.phone()
    bench.call(phone)
    talk(bench, phone, 20)
    phone.received()
    bench.stall(int(DOUBTFUL_STALL_S / TICK_S) + 1)
    talk(bench, phone, 20)
    bench.tick(int((UNCONFIRMED_S + 2) / TICK_S))
    assert phone.received() == []
    assert len(bench.sessions) == 0


def test_a_short_stall_raises_no_doubt(bench):
    phone = bench.phone()
    bench.call(phone)
    talk(bench, phone, 20)
    phone.received()
    bench.stall(100)
    talk(bench, phone, 20)
    assert phone.received()
