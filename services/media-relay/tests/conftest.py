"""A relay in virtual time over real sockets: loopback delivers at once, ticks are called by hand."""

import heapq
import itertools
import os
import socket

import numpy as np
import pytest

from sipgw.api.config.v1 import config_pb2
from sipgw.api.relay.v1 import control_pb2 as pb
from sipgw.media_relay.app import Relay
from sipgw.media_relay.load.tick import TICK_S
from sipgw.media_relay.pipeline.stage import Tick
from sipgw.media_relay.settings import DrainTimes, RelayEndpoints, RelayIdentity, RelaySettings, RtpSettings
from sipgw.rtp import RtpPacket, RtpParseError
from sipgw.runtime.free_ports import free_range, give_back
from sipgw.runtime.settings import Identity

IDLE = b"\xff" * 160


class Timer:
    """A timer of the virtual loop, with the callback that it will call."""

    def __init__(self, callback, args):
        self.callback, self.args = callback, args

    def cancel(self):
        self.callback = None


class VirtualLoop:
    """A loop in virtual time, as far as the relay needs one."""

    def __init__(self):
        self.now = 0.0
        self._timers = []
        self._numbers = itertools.count()

    def time(self):
        return self.now

    def call_later(self, delay, callback, *args):
        return self.call_at(self.now + delay, callback, *args)

    def call_at(self, when, callback, *args):
        timer = Timer(callback, args)
        heapq.heappush(self._timers, (when, next(self._numbers), timer))
        return timer

    def run_due(self):
        while self._timers and self._timers[0][0] <= self.now:
            _, _, timer = heapq.heappop(self._timers)
            if timer.callback is not None:
                timer.callback(*timer.args)


class FakeBots:
    """Bot streams that note everything."""

    def __init__(self):
        self.calls, self.closed, self.events, self.digits, self.blocks = {}, {}, [], [], []
        self.consumed_bytes = {}
        self.moved, self.warmed = {}, []
        self.codecs = {}

    def open(self, handle, call, listener):
        self.calls[handle] = call

    def change_codec(self, handle, codec):
        self.codecs[handle] = codec

    def send_event(self, handle, event):
        self.events.append((handle, event))

    def send_digit(self, handle, digit, *, end):
        self.digits.append((handle, digit, end))

    def consumed(self, handles, total_bytes):
        self.consumed_bytes.update(zip(handles.tolist(), total_bytes.tolist(), strict=True))

    def close(self, handle, reason, *, moved=False):
        self.closed[handle] = reason
        self.moved[handle] = moved

    def warm(self, call):
        self.warmed.append(call)

    def uplink(self, block, tick):
        self.blocks.append((tick.number, block.take(np.arange(len(block)))))  # its arrays are used again
        return block.take(block.rows != block.rows)

    def downlink(self, block, tick):
        return block


class Sink:
    """The event stream of an edge."""

    def __init__(self):
        self.events = []

    def send_event(self, event):
        self.events.append(event)

    def of(self, kind):
        return [getattr(event, kind) for event in self.events if event.WhichOneof("event") == kind]


class Phone:
    """A caller's socket."""

    def __init__(self, address="127.0.0.1", ssrc=1234):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((address, 0))
        self.socket.setblocking(False)
        self.address, self.port = self.socket.getsockname()
        self.ssrc, self.sequence, self.timestamp = ssrc, 100, 7000
        self.target = None
        self._packets = []

    def say(self, payload=None, *, payload_type=0):
        payload = os.urandom(160) if payload is None else payload
        self.send(RtpPacket(payload_type, self.sequence & 0xFFFF, self.timestamp, self.ssrc, payload=payload))
        self.sequence += 1
        self.timestamp += len(payload)
        return payload

    def send(self, packet):
        self.send_bytes(packet.to_bytes())

    def send_bytes(self, data):
        self.socket.sendto(data, self.target)

    def collect(self):
        """Read what has come, before the kernel's buffer overflows."""
        while True:
            try:
                self._packets.append(RtpPacket.parse(self.socket.recv(2048)))
            except BlockingIOError:
                return
            except (ConnectionRefusedError, RtpParseError):
                continue

    def received(self):
        self.collect()
        packets, self._packets = self._packets, []
        return packets

    def heard(self):
        """Return the payloads that are not the relay's silence."""
        return [packet.payload for packet in self.received() if packet.payload != IDLE]


class Bench:
    """A relay whose time passes when told."""

    def __init__(self, low, high, tmp_path, bots=None, *, bind="127.0.0.1", advertise="127.0.0.1"):
        self.loop = VirtualLoop()
        settings = RelaySettings(
            RelayIdentity("relay-0"),
            RelayEndpoints("127.0.0.1:0"),
            RtpSettings(bind, advertise, low, high),
            DrainTimes(1.0),
            capacity=0,
            media_timeout_s=30.0,
        )
        new_bots = None if bots is None else lambda speech: bots
        self.relay = Relay(settings, Identity("relay-0", "i1"), self.loop, new_bots)
        self.relay.head_room.measure = lambda *, has_calls: None  # the CPU of the test is not the relay's
        self.sessions, self.plane = self.relay.sessions, self.relay.plane
        self.bots = bots
        self.actions, self.speech = self.relay.actions, self.relay.speech
        self.relay.writer.start()
        self.edge = Sink()
        self.relay.events.attach("edge-0/1", self.edge)
        self.number = 0
        self.phones = []
        self._command = itertools.count(1)
        self.tmp_path = tmp_path

    def tick(self, count=1):
        for _ in range(count):
            self.number += 1
            self._pass(0)

    def stall(self, ticks):
        """Stall the process for so many ticks."""
        self.number += ticks + 1
        self._pass(ticks)

    def _pass(self, missed):
        self.loop.now = self.number * TICK_S
        self.loop.run_due()
        self.relay._on_tick(Tick(self.number, self.number * TICK_S), missed)

    def phone(self, **options):
        phone = Phone(**options)
        self.phones.append(phone)
        return phone

    def command(self, call_id, generation=1, owner_epoch=1, edge="edge-0/1", **command):
        return self.relay.commands.execute(
            pb.Command(
                command_id=next(self._command),
                call_id=call_id,
                generation=generation,
                owner_epoch=owner_epoch,
                **command,
            ),
            edge,
        )

    def media(self, phone, **changes):
        spec = {
            "remote_address": phone.address,
            "remote_rtp_port": phone.port,
            "codec": config_pb2.AUDIO_CODEC_PCMU,
            "ptime_ms": 20,
            "telephone_event": pb.TelephoneEvent(
                send_payload_type=101, receive_payload_type=101, clock_rate_hz=8000
            ),
        }
        return pb.MediaSpec(**(spec | changes))

    def call(self, phone, call_id="call-1", *, bot="builtin:echo", playout=0, start=True, **changes):
        """Allocate and start a call, and set the phone's target."""
        recording = changes.pop("recording", None)
        result = self.command(
            call_id,
            allocate=pb.Allocate(
                media=self.media(phone, **changes),
                bot=pb.BotSpec(endpoint=bot, playout=playout),
                recording=None if recording is None else pb.RecordingSpec(path=str(recording)),
            ),
        )
        assert result.status == pb.COMMAND_STATUS_OK, result.message
        phone.target = (result.allocated.address, result.allocated.rtp_port)
        if start:
            assert self.command(call_id, start=pb.Start()).status == pb.COMMAND_STATUS_OK
        return self.sessions._by_call[call_id]

    def talk(self, phone, frames, payload=None):
        """Send a frame every 20 ms."""
        said = []
        for _ in range(frames):
            said.append(phone.say(payload))
            self.tick(4)
            phone.collect()
        return said

    def close(self):
        self.relay.plane.shutdown()
        for phone in self.phones:
            phone.socket.close()
        for leg in self.plane._legs:
            if leg is not None:
                for each in (leg.endpoint.pair.rtp, leg.endpoint.pair.rtcp, leg.endpoint.connected):
                    if each is not None:
                        each.close()
        self.relay.writer.close()


@pytest.fixture
def port_range():
    """`port_range(pairs)`: the first and the last of ports that no other test process uses."""
    given = []

    def take(pairs):
        low = free_range(2 * pairs)
        given.append((low, 2 * pairs))
        return low, low + 2 * pairs - 1

    yield take
    for low, size in given:
        give_back(low, size)


@pytest.fixture
def make_bench(port_range, tmp_path):
    benches = []

    def make(pairs=4, bots=None, **addresses):
        bench = Bench(*port_range(pairs), tmp_path, bots, **addresses)
        benches.append(bench)
        return bench

    yield make
    for bench in benches:
        bench.close()


@pytest.fixture
def bench(make_bench):
    return make_bench()


@pytest.fixture
def fake_bots():
    return FakeBots()


@pytest.fixture
def bot_bench(make_bench, fake_bots):
    return make_bench(bots=fake_bots)
