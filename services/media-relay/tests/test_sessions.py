"""relay/v1 commands: idempotent, fenced, orphans freed, events kept."""

import asyncio
import random
import signal
import socket
import subprocess
import sys

import numpy as np
import pytest

from sipgw.api.relay.v1 import control_pb2 as pb
from sipgw.api.relay.v1.control_pb2_grpc import add_RelayControlServiceServicer_to_server
from sipgw.control import RelayLink, RelayRefused, RelayUnreachable
from sipgw.media_relay.control.service import SERVICE_NAME, RelayControlServicer
from sipgw.media_relay.errors import PortRangeError
from sipgw.media_relay.ports.port_pool import PortPool, bind_address
from sipgw.runtime.grpc_server import GrpcServer
from sipgw.runtime.patience import patient
from sipgw.runtime.settings import Identity

OK, STALE, INVALID = pb.COMMAND_STATUS_OK, pb.COMMAND_STATUS_STALE, pb.COMMAND_STATUS_INVALID


def allocate(bench, phone, **changes):
    return pb.Allocate(media=bench.media(phone, **changes), bot=pb.BotSpec(endpoint="builtin:echo"))


def test_allocate_again_gives_the_same_ports(bench):
    phone = bench.phone()
    first = bench.command("a", allocate=allocate(bench, phone))
    again = bench.command("a", allocate=allocate(bench, phone))
    assert first.allocated == again.allocated
    assert first.allocated.rtp_port % 2 == 0
    assert first.allocated.rtcp_port == first.allocated.rtp_port + 1
    assert len(bench.sessions) == 1


def test_lower_generations_and_owner_epochs_are_stale(bench):
    phone = bench.phone()
    bench.command("a", generation=5, owner_epoch=2, allocate=allocate(bench, phone))
    assert bench.command("a", generation=4, owner_epoch=2, start=pb.Start()).status == STALE
    assert bench.command("a", generation=9, owner_epoch=1, release=pb.Release()).status == STALE
    assert bench.command("a", generation=5, owner_epoch=2, start=pb.Start()).status == OK


def test_a_released_call_stays_released_for_who_comes_late(bench):
    phone = bench.phone()
    bench.command("a", generation=5, allocate=allocate(bench, phone))
    assert bench.command("a", generation=6, release=pb.Release(reason="x")).status == OK
    assert bench.command("a", generation=6, release=pb.Release(reason="x")).status == OK
    assert bench.command("a", generation=5, allocate=allocate(bench, phone)).status == STALE
    assert bench.command("a", generation=6, allocate=allocate(bench, phone)).status == STALE
    assert bench.command("a", generation=7, start=pb.Start()).status == pb.COMMAND_STATUS_NOT_FOUND
    assert bench.command("a", generation=7, allocate=allocate(bench, phone)).status == OK


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"codec": 0}, "media.codec"),
        ({"ptime_ms": 7}, "media.ptime_ms"),
        ({"remote_address": "host.example"}, "media.remote_address"),
        ({"send_payload_type": 200}, "media.send_payload_type"),
        ({"clock_rate_hz": 16000}, "media.clock_rate_hz"),
    ],
)
def test_what_cannot_be_served_names_the_field(bench, changes, field):
    result = bench.command("a", allocate=allocate(bench, bench.phone(), **changes))
    assert result.status == INVALID
    assert result.message.startswith(field)
    assert len(bench.sessions) == 0


def test_a_call_id_that_is_no_file_name_is_refused(bench):
    assert bench.command("../etc/x", allocate=allocate(bench, bench.phone())).status == INVALID


def test_an_unconfirmed_session_is_freed_after_ten_seconds(bench):
    bench.command("a", allocate=allocate(bench, bench.phone()))
    bench.tick(1980)
    assert len(bench.sessions) == 1
    bench.tick(240)
    assert len(bench.sessions) == 0
    assert [e.reason for e in bench.edge.of("session_ended")] == ["no edge confirmed the session"]


def test_a_confirmed_session_lives_while_its_edge_or_its_rtp_does(bench):
    phone = bench.phone()
    bench.call(phone)
    bench.tick(14_000)
    assert len(bench.sessions) == 1  # the edge is attached
    bench.relay.events.detach("edge-0/1", bench.edge)
    for _ in range(140):
        phone.say()
        bench.tick(100)
        phone.received()
    assert len(bench.sessions) == 1  # RTP comes
    bench.tick(13_000)
    assert len(bench.sessions) == 0


def test_a_silent_caller_is_reported_once(bench):
    phone = bench.phone()
    bench.call(phone)
    bench.talk(phone, 10)
    bench.tick(7_000)
    assert len(bench.edge.of("media_timed_out")) == 1
    assert bench.edge.of("media_timed_out")[0].silent_ms >= 30_000
    bench.tick(7_000)
    assert len(bench.edge.of("media_timed_out")) == 1


def test_a_caller_on_hold_is_not_silent(bench):
    phone = bench.phone()
    bench.call(phone, direction=pb.MEDIA_DIRECTION_SENDONLY)
    bench.tick(8_000)
    assert bench.edge.of("media_timed_out") == []


def test_rtp_on_the_last_port_leaves_none_for_rtcp(bench):
    assert bench.command("a", allocate=allocate(bench, bench.phone(), remote_rtp_port=65535)).status == OK


def test_an_allocate_that_its_release_has_overtaken_makes_no_session(bench):
    assert bench.command("a", generation=3, release=pb.Release(reason="placed elsewhere")).status == OK
    assert bench.command("a", generation=2, allocate=allocate(bench, bench.phone())).status == STALE
    assert bench.command("a", generation=3, allocate=allocate(bench, bench.phone())).status == STALE
    assert len(bench.sessions) == 0
    assert bench.command("a", generation=4, allocate=allocate(bench, bench.phone())).status == OK


def test_events_are_replayed_to_who_adopts_until_acked(bench, make_bench):
    phone = bench.phone()
    bench.call(phone)
    bench.talk(phone, 5)
    bench.relay.events.detach("edge-0/1", bench.edge)
    bench.command("call-1", generation=2, release=pb.Release(reason="late"), edge="edge-0/1")
    other = type(bench.edge)()
    bench.relay.events.attach("edge-1/1", other)
    assert other.events == []
    phone2 = bench.phone()
    bench.call(phone2, "call-2")
    bench.relay.events.ack([event.event_id for event in bench.edge.events])
    bench.command("call-2", generation=2, owner_epoch=2, adopt=pb.Adopt(), edge="edge-1/1")
    kinds = [event.WhichOneof("event") for event in other.events if event.call_id == "call-2"]
    assert kinds == ["bot_ready"]
    ids = [event.event_id for event in other.events]
    assert ids == sorted(ids)
    assert bench.command("call-2", generation=9, owner_epoch=1, release=pb.Release()).status == STALE


def test_a_command_of_another_edge_leaves_the_events_with_the_owner(bench):
    phone = bench.phone()
    bench.call(phone)
    other = type(bench.edge)()
    bench.relay.events.attach("edge-1/1", other)
    assert (
        bench.command(
            "call-1", generation=2, modify=pb.Modify(media=bench.media(phone)), edge="edge-1/1"
        ).status
        == OK
    )
    bench.command("call-1", generation=3, release=pb.Release(reason="done"), edge="edge-0/1")
    assert "session_ended" in [event.WhichOneof("event") for event in bench.edge.events]
    assert other.events == []


def test_no_room_while_draining(bench):
    bench.relay.set_draining(True)
    result = bench.command("a", allocate=allocate(bench, bench.phone()))
    assert result.status == pb.COMMAND_STATUS_NO_ROOM
    assert result.message.startswith("draining: ")
    assert bench.relay.beat().draining
    assert not bench.relay.beat().full


def test_no_room_while_full_and_that_is_not_draining(bench):
    bench.call(bench.phone(), "first")
    bench.relay.head_room.cpu = 0.95
    result = bench.command("a", allocate=allocate(bench, bench.phone()))
    assert result.status == pb.COMMAND_STATUS_NO_ROOM
    assert result.message.startswith("full: ")
    beat = bench.relay.beat()
    assert (beat.full, beat.draining, list(beat.call_ids)) == (True, False, ["first"])
    bench.relay.head_room.cpu = 0.5
    assert not bench.relay.beat().full
    assert bench.command("a", allocate=allocate(bench, bench.phone())).status == OK


def test_no_room_while_the_relays_own_ticks_are_late_and_room_again_after_it(bench, monkeypatch):
    """The relay's own clock, in virtual time, on a machine that lets it run each 60 ms only."""
    relay, loop = bench.relay, bench.loop
    room = relay.head_room
    monkeypatch.delattr(room, "measure")  # undo the bench's patch: the class's own method runs
    monkeypatch.setattr(room, "full_reason", lambda _share=1.0: "")  # the CPU of the test is not the relay's
    relay.clock.start()

    def run(seconds, every_s):
        end_s = loop.now + seconds
        while loop.now < end_s:
            loop.now += every_s
            loop.run_due()

    bench.call(bench.phone(), "first")
    run(10, every_s=0.005)
    assert not relay.beat().late
    run(5, every_s=0.06)
    result = bench.command("a", allocate=allocate(bench, bench.phone()))
    assert (result.status, result.message[:6]) == (pb.COMMAND_STATUS_NO_ROOM, "late: ")
    beat = relay.beat()
    assert (beat.late, beat.full, beat.draining, list(beat.call_ids)) == (True, False, False, ["first"])
    run(7, every_s=0.005)
    assert not relay.beat().late
    assert bench.command("a", allocate=allocate(bench, bench.phone())).status == OK
    relay.clock.stop()


def test_list_tells_all_sessions(bench):
    phone = bench.phone()
    bench.call(phone)
    bench.talk(phone, 10)
    result = bench.command("", list=pb.List())
    (state,) = result.sessions
    assert (state.call_id, state.started, state.packets_received) == ("call-1", True, 10)


@pytest.mark.parametrize(
    ("low", "high"), [(20001, 20010), (20000, 20000), (30000, 20000), (80, 99), (65000, 70000)]
)
def test_a_range_that_cannot_serve_says_why(low, high):
    with pytest.raises(PortRangeError, match=r"--rtp-ports"):
        PortPool("127.0.0.1", low, high, random.Random(1))


def test_a_range_that_somebody_holds_says_what_to_do(port_range):
    low, high = port_range(1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
        holder.bind(("127.0.0.1", low))
        pool = PortPool("127.0.0.1", low, high, random.Random(1))
        with pytest.raises(PortRangeError, match="taken"):
            pool.probe()
        assert pool.acquire(0.0) is None
        pool.close()


@pytest.mark.parametrize(
    ("bind", "advertise", "chosen"),
    [
        ("0.0.0.0", "127.0.0.2", "127.0.0.2"),
        ("0.0.0.0", "203.0.113.9", "0.0.0.0"),  # the address of a router that forwards to us
        ("0.0.0.0", "2001:db8::9", "0.0.0.0"),
        ("::", "203.0.113.9", "::"),
        ("192.0.2.1", "127.0.0.2", "127.0.0.2"),  # nothing would arrive on `bind`
    ],
)
def test_ports_are_on_the_advertised_address_where_that_is_ours(bind, advertise, chosen):
    assert bind_address(bind, advertise) == chosen


async def test_an_edge_commands_and_hears_over_grpc(bench):
    server = GrpcServer("127.0.0.1:0")
    servicer = RelayControlServicer(Identity("relay-0", "i1"), bench.relay.commands, bench.relay.events)
    server.add(servicer, add_RelayControlServiceServicer_to_server, SERVICE_NAME)
    port = await server.start()
    events = []
    link = RelayLink(f"127.0.0.1:{port}", Identity("edge-7", "x"), events.append)
    allocated = await link.allocate("c", generation=1, owner_epoch=1, spec=allocate(bench, bench.phone()))
    assert allocated.rtp_port
    await link.start("c", generation=2, owner_epoch=1)
    with pytest.raises(RelayRefused) as refused:
        await link.start("c", generation=1, owner_epoch=1)
    assert "STALE" in str(refused.value)
    assert [state.call_id for state in await link.list_sessions()] == ["c"]
    await link.release("c", generation=3, owner_epoch=1, reason="bye")
    assert events[0].WhichOneof("event") == "bot_ready"
    assert link.relay == Identity("relay-0", "i1")
    await link.aclose()
    await server.stop(0)


async def test_a_stream_meant_for_the_relay_before_it_neither_ends_calls_nor_takes_events(bench):
    """One edge opens two streams to one address: only the one meant for this incarnation is served."""
    server = GrpcServer("127.0.0.1:0")
    me, edge = Identity("relay-0", "i2"), Identity("edge-7", "x")
    servicer = RelayControlServicer(me, bench.relay.commands, bench.relay.events)
    server.add(servicer, add_RelayControlServiceServicer_to_server, SERVICE_NAME)
    address = f"127.0.0.1:{await server.start()}"
    heard, stale = asyncio.Queue(), []
    link = RelayLink(address, edge, heard.put_nowait, expected=me)
    late = RelayLink(address, edge, stale.append, expected=Identity("relay-0", "i1"), deadline_s=0.3)
    await link.wait_connected()
    with pytest.raises(RelayUnreachable):
        await late.release("c", generation=9, owner_epoch=9, reason="moved")
    await link.allocate("c", generation=1, owner_epoch=1, spec=allocate(bench, bench.phone()))
    event = await asyncio.wait_for(heard.get(), patient(5))
    assert event.WhichOneof("event") == "bot_ready"
    assert stale == []
    await late.aclose()
    await link.aclose()
    await server.stop(0)


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--rtp-ports", "20001-20010"], "must be even"),
        (["--rtp-ports", "20000"], "LOW-HIGH"),
        (["--advertise", "nowhere"], "IP address"),
        (["--listen", "8080"], "host:port"),
    ],
)
def test_bad_flags_end_the_process_with_one_clear_line(flags, says):
    done = subprocess.run(
        [sys.executable, "-m", "sipgw.media_relay", *flags],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 2
    assert says in done.stderr.strip().splitlines()[-1]


CRASH = """
import sys, time, numpy as np
from pathlib import Path
from sipgw.audio import AudioFormat, Codec
from sipgw.media_relay.pipeline import FrameBlock, Tick
from sipgw.media_relay.stages.recording_writer import RecordingWriter
from sipgw.media_relay.stages.recorder import RecorderStage
from sipgw.rtp.kernels.columns import new_calls
wire = AudioFormat(Codec.PCMU, 8000, 20)
writer = RecordingWriter(); writer.start()
stage = RecorderStage(new_calls(2), writer)
stage.open(1, Path(sys.argv[1]), wire)
def block(n):
    rows, seq, audio = np.array([1], np.uint32), np.array([n], np.uint64), np.full((1, 160), 5, np.uint8)
    return FrameBlock(wire, rows, seq, audio, np.array([160], np.int32), np.zeros(1, np.uint8))
for n in range(500):
    stage.uplink(block(n), Tick(n * 4, n * 0.02)); stage.downlink(block(n), Tick(n * 4, n * 0.02))
    while writer._queue.qsize(): time.sleep(0.001)
def written(): return int.from_bytes(Path(sys.argv[1]).read_bytes()[40:44], "little")
while written() < 9 * 8000 * 4: time.sleep(0.01)
print("go", flush=True); time.sleep(60)
"""


def test_a_recording_is_complete_after_kill_9_up_to_the_last_second(tmp_path):
    path = tmp_path / "crash.wav"
    process = subprocess.Popen([sys.executable, "-c", CRASH, str(path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == b"go"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    data = path.read_bytes()
    size = int.from_bytes(data[40:44], "little")
    assert size == len(data) - 44
    stereo = np.frombuffer(data[44:], "<i2").reshape(-1, 2)
    assert len(stereo) >= (10 - 1) * 8000
    assert (stereo == stereo[0, 0]).all()


def with_bot(bench, phone, endpoint):
    return pb.Allocate(media=bench.media(phone), bot=pb.BotSpec(endpoint=endpoint))


def test_another_bot_takes_the_first_ones_place_on_the_same_ports(bot_bench):
    phone = bot_bench.phone()
    first = bot_bench.command("a", generation=1, allocate=with_bot(bot_bench, phone, "own:1"))
    again = bot_bench.command("a", generation=2, allocate=with_bot(bot_bench, phone, "spare:1"))
    assert again.allocated == first.allocated
    (old, _), (new, call) = bot_bench.bots.calls.items()
    assert call.endpoint == "spare:1"
    assert not call.resumed
    assert bot_bench.bots.closed == {old: "another bot has the call"}
    assert bot_bench.sessions.session_of(old) is None
    assert bot_bench.sessions.session_of(new).call_id == "a"
    bot_bench.command("a", generation=2, allocate=with_bot(bot_bench, phone, "spare:1"))  # sent again
    assert len(bot_bench.bots.calls) == 2


def test_the_built_in_echo_can_take_a_bots_place(bot_bench):
    phone = bot_bench.phone()
    bot_bench.command("a", generation=1, allocate=with_bot(bot_bench, phone, "own:1"))
    bot_bench.command("a", generation=2, allocate=with_bot(bot_bench, phone, "builtin:echo"))
    assert [ready.protocol for ready in bot_bench.edge.of("bot_ready")] == ["builtin"]
