"""Calls with builtin:echo over real UDP: bytes, clocks, strangers, digits."""

import itertools
import os
import random
import tracemalloc
from pathlib import Path

import numpy as np

from sipgw.api.config.v1 import config_pb2
from sipgw.api.relay.v1 import control_pb2 as pb
from sipgw.rtp import DtmfSender, RtpPacket


def delays_ms(bench, phone, frames):
    """Return the delay of each frame's echo, in ticks of 5 ms."""
    said_at, delays = {}, []
    for n in range(frames * 4 + 100):
        if n % 4 == 0 and n < frames * 4:
            said_at[phone.say()] = bench.number
        bench.tick()
        delays += [(bench.number - said_at[p]) * 5 for p in phone.heard() if p in said_at]
    assert len(delays) >= frames - 2
    return delays


def test_echo_is_bit_exact(bench):
    phone = bench.phone()
    bench.call(phone)
    said = bench.talk(phone, 200)
    bench.tick(20)
    assert phone.heard() == said


def test_all_byte_values_come_back_in_pcma_too(bench):
    phone = bench.phone()
    bench.call(phone, codec=config_pb2.AUDIO_CODEC_PCMA, send_payload_type=8, receive_payload_type=8)
    said = [bytes((n * 40 + k) % 256 for k in range(160)) for n in range(20)]
    for payload in said:
        phone.say(payload, payload_type=8)
        bench.tick(4)
    bench.tick(20)
    packets = phone.received()
    assert {packet.payload_type for packet in packets} == {8}
    assert [p.payload for p in packets if p.payload != b"\xd5" * 160] == said


def test_any_packet_time_is_echoed_whole(bench):
    for ptime in (10, 30, 40, 60):
        phone = bench.phone()
        bench.call(phone, f"call-{ptime}", ptime_ms=ptime)
        said = b""
        for _ in range(12):
            said += phone.say(os.urandom(ptime * 8))
            bench.tick(ptime // 5)
        bench.tick(60)
        heard = b"".join(packet.payload for packet in phone.received())
        assert heard.strip(b"\xff") in said
        assert len(heard.strip(b"\xff")) >= len(said) - 40 * 8
        bench.command(f"call-{ptime}", generation=9, release=pb.Release(reason="over"))


def test_sequence_and_timestamp_rise_evenly(bench):
    phone = bench.phone()
    bench.call(phone)
    bench.talk(phone, 20)
    packets = phone.received()
    steps = {
        ((b.sequence - a.sequence) & 0xFFFF, (b.timestamp - a.timestamp) & 0xFFFFFFFF)
        for a, b in itertools.pairwise(packets)
    }
    assert steps == {(1, 160)}
    assert [p.marker for p in packets].count(True) == 1


def test_reordered_packets_are_echoed_in_order(bench):
    phone = bench.phone()
    bench.call(phone)
    said = bench.talk(phone, 5)
    for _ in range(10):
        first, second = os.urandom(160), os.urandom(160)
        sequence, timestamp = phone.sequence, phone.timestamp
        phone.send(RtpPacket(0, sequence + 1, timestamp + 160, phone.ssrc, payload=second))
        phone.send(RtpPacket(0, sequence, timestamp, phone.ssrc, payload=first))
        phone.sequence, phone.timestamp = sequence + 2, timestamp + 320
        said += [first, second]
        bench.tick(8)
    bench.tick(20)
    assert phone.heard() == said


def test_after_a_stall_at_most_two_late_packets_go_out_and_time_goes_on(bench):
    phone = bench.phone()
    bench.call(phone)
    bench.talk(phone, 10)
    before = phone.received()[-1]
    bench.stall(100)  # half a second
    bench.tick(3)
    late = phone.received()
    assert len(late) <= 4  # two late ones, the one that was due, and the next
    assert (late[0].sequence - before.sequence) & 0xFFFF == 1
    assert late[0].marker
    assert (late[0].timestamp - before.timestamp) & 0xFFFFFFFF >= 160 * 20
    bench.tick(400)
    assert len(phone.received()) == 100  # and no faster than real time from then on


def test_a_stall_of_the_relay_leaves_no_lasting_delay(bench):
    phone = bench.phone()
    bench.call(phone)
    bench.talk(phone, 50)
    phone.received()
    usual = max(delays_ms(bench, phone, 50))
    for _ in range(2):
        for _ in range(25):
            phone.say()
        bench.stall(99)
        bench.talk(phone, 400)
    phone.received()
    assert max(delays_ms(bench, phone, 50)) - usual < 40


def test_an_ssrc_change_goes_on_and_is_not_lost(bench):
    phone = bench.phone()
    bench.call(phone)
    bench.talk(phone, 10)
    phone.ssrc, phone.sequence, phone.timestamp = 999, 40000, 12
    said = bench.talk(phone, 10)
    bench.tick(20)
    heard = phone.heard()
    assert heard[-9][80:] == said[-9][80:]  # faded in: the new source's first packet is not accepted
    assert heard[-8:] == said[-8:]


def test_digits_come_once_whatever_is_lost(bench):
    phone = bench.phone()
    bench.call(phone)
    bench.talk(phone, 5)
    rng = random.Random(1)
    sender = DtmfSender("159*")
    while not sender.is_finished:
        event = sender.next_packet(phone.timestamp)
        phone.timestamp += 160
        if event is not None:
            packet = RtpPacket(101, phone.sequence, event.timestamp, phone.ssrc, event.marker, event.payload)
            phone.sequence += 1
            if rng.random() > 0.3:
                phone.send(packet)
        bench.tick(4)
    bench.tick(150)
    assert [digit.digit for digit in bench.edge.of("digit_received")] == list("159*")


def test_a_stranger_is_counted_and_not_heard(bench):
    phone, stranger = bench.phone(), bench.phone(ssrc=666)
    bench.call(phone)
    said = bench.talk(phone, 10)
    stranger.target = phone.target
    for _ in range(50):
        stranger.say(b"\x11" * 160)
        said += bench.talk(phone, 1)
    bench.tick(20)
    assert phone.heard() == said
    assert stranger.received() == []
    assert bench.plane.strange == 50


def test_who_talks_on_after_the_end_is_not_heard_in_the_next_call_on_that_port(make_bench):
    bench = make_bench(pairs=1)
    old = bench.phone(ssrc=1)
    bench.call(old, "old")
    bench.talk(old, 10)
    bench.command("old", generation=2, release=pb.Release(reason="bye"))
    assert (
        bench.command(
            "new", allocate=pb.Allocate(media=bench.media(old), bot=pb.BotSpec(endpoint="builtin:echo"))
        ).status
        == pb.COMMAND_STATUS_NO_PORTS
    )
    for _ in range(100):  # two seconds on: the port may not rest yet
        old.say(b"\x22" * 160)
        bench.tick(4)
    assert bench.plane.pool.free == 0
    bench.tick(250)  # the caller is silent at last
    assert bench.plane.pool.free == 1
    new = bench.phone(ssrc=2)
    bench.call(new, "new")
    said = []
    for _ in range(50):
        old.say(b"\x22" * 160)
        said += bench.talk(new, 1)
    bench.tick(20)
    assert new.heard() == said
    old.received()
    bench.tick(10)
    assert old.received() == []


def test_a_caller_behind_nat_is_latched_after_the_window(bench):
    public, sdp = bench.phone(address="127.0.0.2"), bench.phone()
    bench.call(sdp)
    public.target = sdp.target
    bench.talk(public, 30)
    (started,) = bench.edge.of("media_started")
    assert (started.address, started.port) == (public.address, public.port)
    sdp.received()
    said = bench.talk(public, 10)
    bench.tick(20)
    assert public.heard()[-10:] == said
    assert sdp.received() == []


def test_on_any_address_media_comes_and_goes_by_the_advertised_one(make_bench):
    """The route to this caller has the local address 127.0.0.1, which the SDP does not name."""
    bench = make_bench(bind="0.0.0.0", advertise="127.0.0.2")
    phone = bench.phone()
    bench.call(phone)
    assert phone.target[0] == "127.0.0.2"
    bench.talk(phone, 30)  # latched by now
    phone.received()
    bench.plane._sweep.sweep_cold = lambda: None  # the unconnected socket is not read
    said = bench.talk(phone, 10)
    bench.tick(20)
    assert phone.heard()[-10:] == said
    bench.tick(4)
    assert phone.socket.recvfrom(2048)[1] == phone.target


def test_an_address_advertised_later_has_the_ports_of_new_calls(make_bench):
    """The config names one of the node's two addresses: the socket must be on the address in the SDP."""
    bench = make_bench(bind="0.0.0.0", advertise="127.0.0.1")
    bench.relay.advertise("127.0.0.2")
    phone = bench.phone()
    bench.call(phone)
    assert phone.target[0] == "127.0.0.2"
    said = bench.talk(phone, 10)
    bench.tick(20)
    assert phone.heard() == said


def test_a_new_remote_address_moves_the_call(bench):
    phone, elsewhere = bench.phone(), bench.phone(ssrc=77)
    bench.call(phone)
    bench.talk(phone, 10)
    bench.command("call-1", generation=3, modify=pb.Modify(media=bench.media(elsewhere)))
    elsewhere.target = phone.target
    phone.received()
    said = bench.talk(elsewhere, 20)
    bench.tick(20)
    assert elsewhere.heard()[-len(said) :][-15:] == said[-15:]
    assert phone.received() == []


def test_hold_sends_nothing_and_resume_sends_again(bench):
    phone = bench.phone()
    bench.call(phone)
    bench.talk(phone, 10)
    inactive = bench.media(phone, direction=pb.MEDIA_DIRECTION_INACTIVE)
    bench.command("call-1", generation=2, modify=pb.Modify(media=inactive))
    phone.received()
    bench.talk(phone, 20)
    assert phone.received() == []
    bench.command("call-1", generation=3, modify=pb.Modify(media=bench.media(phone)))
    said = bench.talk(phone, 20)
    bench.tick(20)
    assert phone.heard()[-18:] == said[-18:]


def test_ten_thousand_mutated_packets_leave_the_call_alive_and_memory_flat(bench):
    phone = bench.phone()
    bench.call(phone)
    bench.talk(phone, 5)
    rng = random.Random(7)

    def mutants(count):
        for n in range(count):
            data = bytearray(
                RtpPacket(
                    0,
                    phone.sequence & 0xFFFF,
                    phone.timestamp & 0xFFFFFFFF,
                    phone.ssrc,
                    payload=os.urandom(160),
                ).to_bytes()
            )
            for _ in range(rng.randrange(1, 6)):
                data[rng.randrange(len(data) if rng.random() < 0.3 else 16)] = rng.randrange(256)
            phone.send_bytes(bytes(data[: rng.randrange(0, len(data) + 1)] if rng.random() < 0.3 else data))
            if n % 3 == 0:
                bench.tick()
        phone.received()

    mutants(1000)
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    mutants(9000)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after - before < 200_000
    bench.tick(100)
    phone.ssrc, phone.sequence, phone.timestamp = 4321, 1, 1
    said = bench.talk(phone, 300)
    bench.tick(40)
    assert phone.heard()[-20:] == said[-20:]


def test_reports_are_sent_and_read(bench):
    phone, control = bench.phone(), bench.phone()
    bench.call(phone, remote_rtcp_address=control.address, remote_rtcp_port=control.port)
    bench.talk(phone, 500)
    reports = []
    while True:
        try:
            reports.append(control.socket.recv(2048))
        except BlockingIOError:
            break
    assert 1 <= len(reports) <= 4
    assert all(report[1] == 200 for report in reports)
    control.socket.sendto(os.urandom(60), (phone.target[0], phone.target[1] + 1))
    bench.tick(4)


def test_recording_has_the_caller_left_and_the_bot_right(bench, tmp_path):
    phone = bench.phone()
    bench.call(phone, recording=tmp_path / "rec")
    bench.talk(phone, 60, payload=b"\x05" * 160)
    bench.command("call-1", generation=2, release=pb.Release(reason="bye"))
    (ended,) = bench.edge.of("session_ended")
    bench.relay.writer.close()
    bench.relay.writer.close = lambda: None
    data = Path(ended.totals.recording_path).read_bytes()
    assert data[:4] == b"RIFF"
    assert int.from_bytes(data[40:44], "little") == len(data) - 44
    stereo = np.frombuffer(data[44:], "<i2").reshape(-1, 2)
    assert len(stereo) >= 60 * 160
    loud = np.abs(stereo.astype(int)) > 1000
    assert loud[:, 0].sum() == 60 * 160
    assert loud[:, 1].sum() == 60 * 160
    assert abs(int(loud[:, 0].argmax()) - int(loud[:, 1].argmax())) <= 320
