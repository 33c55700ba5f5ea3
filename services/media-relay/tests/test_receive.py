"""The receiving kernel, compiled and as Python, against scalar oracles: any bytes, in any order."""

import socket

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sipgw.media_relay.kernels.sockets import SLOT
from sipgw.media_relay.pipeline import Tick
from sipgw.media_relay.rtp.receiver import NO_PAYLOAD_TYPE, RtpReceiver
from sipgw.media_relay.rtp.rtp_sweep import RtpSweep
from sipgw.rtp.errors import RtpParseError
from sipgw.rtp.jitter_buffer import JitterBuffer
from sipgw.rtp.kernels import library, placement
from sipgw.rtp.kernels.columns import new_calls
from sipgw.rtp.packet import HeaderExtension, RtpPacket, is_rtcp
from sipgw.rtp.reception import Reception
from sipgw.rtp.sequence import sequence_delta

ROW, AUDIO, KEYS, NOISE = 1, 0, 101, 13
THEIR_KEYS = 96
"""The number under which the caller takes keys, and may send them."""
SILENT_TICKS = 12


class Listener:
    def __init__(self):
        self.heard = []

    def on_event_packet(self, row, packet):
        self.heard.append((row, packet))

    def on_rtcp(self, row, datagram):
        self.heard.append((row, datagram))


class Oracle:
    """The same rules for one caller, a packet at a time."""

    def __init__(self):
        self.heard, self.malformed, self.unexpected = [], 0, 0
        self.ssrc, self.highest, self.last_heard, self.ssrc_heard = None, 0, 0, 0
        self.reception, self.candidate = Reception(), None
        self.taken = []

    def receive(self, data, tick):
        if is_rtcp(data):
            self.heard.append((ROW, data))
            return
        try:
            packet = RtpPacket.parse(data)
        except RtpParseError:
            self.malformed += 1
            return
        is_key = packet.payload_type in (KEYS, THEIR_KEYS)
        if not is_key and packet.payload_type not in (AUDIO, NOISE):
            self.unexpected += 1
            self.last_heard = tick
            return
        if packet.ssrc != self.ssrc:
            if is_key and self.ssrc is not None:
                self.last_heard = tick
                self.heard.append((ROW, packet))
                return
            if not self.meets(packet, tick):
                return
        timestamp = None if is_key else packet.timestamp
        counted = self.reception.receive(packet.sequence, timestamp, tick * 40)
        if sequence_delta(packet.sequence, self.highest) > 0:
            self.highest = packet.sequence
        self.last_heard = self.ssrc_heard = tick
        if is_key:
            self.heard.append((ROW, packet))
        if is_key or (counted and packet.payload):
            self.taken.append(packet)

    def meets(self, packet, tick):
        if self.ssrc is not None:
            is_free = tick - self.ssrc_heard > SILENT_TICKS or self.reception.received == 0
            goes_on = self.candidate == (packet.ssrc, packet.sequence)
            self.candidate = packet.ssrc, (packet.sequence + 1) & 0xFFFF
            if not (is_free or goes_on):
                return False
            self.reception = Reception()
        self.ssrc, self.highest = packet.ssrc, (packet.sequence - 1) & 0xFFFF
        return True


class Bench:
    def __init__(self):
        self.listener = Listener()
        self.jitter = JitterBuffer(new_calls(3))
        self.receiver = RtpReceiver(self.jitter, self.listener)
        self.jitter.open(ROW, silence=0xFF, now_s=0.0)
        self.receiver.open(ROW, 0)
        self.receiver.configure(
            ROW,
            payload_type=AUDIO,
            event_payload_type=KEYS,
            peers_event_payload_type=THEIR_KEYS,
            is_muxed=True,
            is_receiving=True,
        )

    def receive(self, datagrams, tick):
        slots = np.full((len(datagrams), SLOT), 0xAA, np.uint8)
        for slot, data in zip(slots, datagrams, strict=True):
            slot[: len(data)] = np.frombuffer(data, np.uint8)
        sizes = np.array([len(data) for data in datagrams], np.int32)
        self.receiver.receive(np.full(len(datagrams), ROW), slots, sizes, Tick(tick, tick * 0.005))


packets = st.builds(
    RtpPacket,
    payload_type=st.sampled_from([AUDIO] * 6 + [KEYS, THEIR_KEYS, NOISE, 18]),
    sequence=st.integers(0, 30) | st.integers(65530, 65535) | st.integers(0, 65535),
    timestamp=st.integers(0, 40).map(lambda n: n * 160) | st.integers(0, 0xFFFFFFFF),
    ssrc=st.sampled_from([7, 7, 7, 7, 8, 9]),
    marker=st.booleans(),
    payload=st.binary(max_size=200),
    csrcs=st.lists(st.integers(0, 9), max_size=3).map(tuple),
    extension=st.none() | st.just(HeaderExtension(1, b"abcd")),
    padding=st.integers(0, 5),
).map(RtpPacket.to_bytes)


@st.composite
def broken(draw):
    data = bytearray(draw(packets))
    for _ in range(draw(st.integers(1, 3))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data[: draw(st.integers(0, len(data)))])


bursts = st.lists(
    st.tuples(
        st.integers(1, 20), st.lists(packets | packets | broken() | st.binary(max_size=40), max_size=8)
    ),
    max_size=12,
)


def put(model, packet, tick):
    """Put what a packet of the present source brought into a jitter buffer."""
    record = model.calls[ROW]["jitter"]
    if packet.payload_type in (KEYS, THEIR_KEYS):
        placement.pass_number(record, packet.sequence)
    elif packet.payload_type == NOISE:
        placement.begin_rest(record, packet.sequence, packet.payload[0] & 0x7F)
    else:
        header = np.array([[packet.sequence, packet.timestamp, packet.marker]], np.int64)
        audio = np.frombuffer(packet.payload, np.uint8)[None, :].copy()
        model.write(np.array([ROW]), header, audio, tick * 0.005)


@pytest.fixture(params=["compiled", "python"])
def way(request, monkeypatch):
    monkeypatch.setattr(library, "IS_PYTHON", request.param == "python")


@pytest.mark.usefixtures("way")
def test_the_kernel_equals_the_scalar_rules():
    @settings(max_examples=120, deadline=None)
    @given(bursts)
    def holds(bursts):
        bench, oracle, model, tick = Bench(), Oracle(), JitterBuffer(new_calls(3)), 0
        model.open(ROW, silence=0xFF, now_s=0.0)
        for ticks, datagrams in bursts:
            tick += ticks
            bench.receive(datagrams, tick)
            for data in datagrams:
                before = oracle.reception
                oracle.receive(data, tick)
                if oracle.reception is not before:
                    model.calls["jitter"]["mapped"][ROW] = False
                for packet in oracle.taken:
                    put(model, packet, tick)
                oracle.taken.clear()
        receiver, source = bench.receiver, bench.jitter.calls[ROW]["source"]
        assert bench.listener.heard == oracle.heard
        assert (receiver.malformed, receiver.unexpected) == (oracle.malformed, oracle.unexpected)
        assert receiver.has_ssrc[ROW] == (oracle.ssrc is not None)
        assert source["last_heard"] == oracle.last_heard
        if oracle.ssrc is not None:
            assert (source["ssrc"], source["highest"]) == (oracle.ssrc, oracle.highest)
            totals = receiver.reception.totals(ROW)
            assert (totals.received, totals.lost) == (oracle.reception.received, oracle.reception.lost)
            assert totals.jitter == oracle.reception.jitter
        assert bench.jitter.calls["jitter"].tolist() == model.calls["jitter"].tolist()
        assert bench.jitter.rings.tobytes() == model.rings.tobytes()

    holds()


@pytest.mark.usefixtures("way")
def test_a_burst_longer_than_the_room_for_events_loses_none():
    bench = Bench()
    keys = [
        RtpPacket(payload_type=KEYS, sequence=n, timestamp=5, ssrc=7, payload=b"1234") for n in range(300)
    ]
    bench.receive([packet.to_bytes() for packet in keys], 1)
    assert [packet.sequence for _, packet in bench.listener.heard] == list(range(300))


@pytest.mark.usefixtures("way")
def test_sockets_are_read_one_datagram_of_each_a_round():
    bench, sweep = Bench(), RtpSweep()
    callers = [socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(2)]
    for row, (_, ours) in enumerate(callers, ROW):
        sweep.add_hot(ours, row)
        bench.receiver.configure(
            row, payload_type=AUDIO, event_payload_type=KEYS, is_muxed=True, is_receiving=True
        )
    for caller, _ in callers:
        for n in range(3):
            packet = RtpPacket(payload_type=0, sequence=n, timestamp=160 * n, ssrc=7, payload=bytes(160))
            caller.send(packet.to_bytes())
            caller.send(RtpPacket(payload_type=KEYS, sequence=n, timestamp=0, ssrc=5).to_bytes())

    def read(rounds):
        bench.receiver.sweep(sweep.hot, Tick(1, 0.005), rounds)
        received = [bench.receiver.totals(row).received for row in (1, 2)]
        return received, len(bench.listener.heard)

    assert read(1) == ([1, 1], 0)
    assert read(2) == ([2, 2], 2)
    assert read(64) == ([3, 3], 6)
    for caller, ours in callers:
        sweep.remove_hot(ours)
        caller.close()
        ours.close()
    sweep.close()


@pytest.mark.usefixtures("way")
def test_a_number_that_is_the_audios_is_never_that_of_keys():
    """A caller may take keys under the number that we take audio under."""
    bench = Bench()
    bench.receiver.configure(
        ROW,
        payload_type=AUDIO,
        event_payload_type=KEYS,
        peers_event_payload_type=AUDIO,
        is_muxed=False,
        is_receiving=True,
    )
    bench.receive([RtpPacket(AUDIO, sequence=1, timestamp=5, ssrc=7, payload=b"x").to_bytes()], 1)
    assert bench.listener.heard == []


@pytest.mark.usefixtures("way")
def test_nothing_is_taken_on_a_row_that_agreed_nothing():
    bench = Bench()
    bench.receiver.configure(
        ROW,
        payload_type=NO_PAYLOAD_TYPE,
        event_payload_type=NO_PAYLOAD_TYPE,
        is_muxed=False,
        is_receiving=True,
    )
    bench.receive([RtpPacket(payload_type=0, sequence=1, timestamp=5, ssrc=7, payload=b"x").to_bytes()], 1)
    assert bench.receiver.unexpected == 1
    assert not bench.receiver.has_ssrc[ROW]
