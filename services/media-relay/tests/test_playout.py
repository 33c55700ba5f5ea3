"""Playout of a bot's speech, in virtual time: bursts, backlogs, clear, marks, credit, keys, hold."""

import itertools

import numpy as np
import pytest

from sipgw.api import voicebot_pb2
from sipgw.api.config.v1 import config_pb2
from sipgw.api.relay.v1 import control_pb2 as pb
from sipgw.audio import AudioFormat, Codec
from sipgw.rtp import DigitEnded, DtmfReceiver

WIRE = AudioFormat(Codec.PCMU, 8000, 20)
LIVE = config_pb2.PLAYOUT_LIVE


def frame(number):
    """Return a loud frame that differs for each number."""
    return np.frombuffer(bytes([number % 100]) * 159 + bytes([number // 100 % 100]), np.uint8)[None, :]


def start(bench, **options):
    phone = bench.phone()
    session = bench.call(phone, bot="bot:1", **options)
    phone.say()
    bench.tick(8)
    phone.received()
    return phone, session


def say(bench, session, number):
    bench.speech.bot_audio(np.array([session.handle], np.uint32), frame(number), WIRE)


def bot_delay_ms(bench, phone, session, number=900):
    """Return the delay from the bot to the caller of a frame, while the bot talks on."""
    say(bench, session, number)
    wanted = frame(number).tobytes()
    for ticks in range(1, 400):
        bench.tick()
        if wanted in phone.heard():
            return ticks * 5
        if ticks % 4 == 0:
            number += 1
            say(bench, session, number)
    raise AssertionError("never heard")


def test_a_burst_of_twenty_seconds_is_played_whole(bot_bench):
    for playout in (LIVE, config_pb2.PLAYOUT_QUEUED):
        phone, session = start(bot_bench, call_id=f"call-{playout}", playout=playout)
        speech = b"".join(frame(n).tobytes() for n in range(1000))
        sent, heard = 0, b""
        for _ in range(1100):
            consumed = bot_bench.bots.consumed_bytes.get(session.handle, 0)
            room = consumed + 65536 - sent
            if room and sent < len(speech):  # the bot fills its credit at once, as gRPC does
                chunk = speech[sent : sent + room]
                bot_bench.speech.bot_speech(session.handle, chunk, WIRE)
                sent += len(chunk)
            bot_bench.tick(4)
            heard += b"".join(phone.heard())
        assert heard == speech
        assert bot_bench.plane.playout.refused == 0
        assert bot_bench.bots.consumed_bytes[session.handle] == len(speech)


@pytest.mark.parametrize("playout", [LIVE, config_pb2.PLAYOUT_QUEUED, config_pb2.PLAYOUT_UNSPECIFIED])
def test_two_pauses_of_half_a_second_leave_under_40_ms(bot_bench, playout):
    phone, session = start(bot_bench, playout=playout)
    number = 0
    for _ in range(50):
        say(bot_bench, session, number := number + 1)
        bot_bench.tick(4)
    phone.received()
    usual = bot_delay_ms(bot_bench, phone, session, 5000)
    for _ in range(2):
        bot_bench.tick(100)  # the bot is silent for half a second
        for _ in range(25):  # and then sends all of it
            say(bot_bench, session, number := number + 1)
        for _ in range(300):
            say(bot_bench, session, number := number + 1)
            bot_bench.tick(4)
            phone.collect()
    phone.received()
    assert bot_delay_ms(bot_bench, phone, session, 6000) - usual < 40


def test_quiet_frames_are_dropped_before_loud_ones(bot_bench):
    phone, session = start(bot_bench, playout=config_pb2.PLAYOUT_QUEUED)
    quiet = np.full((1, 160), 0xFE, np.uint8)  # one step from silence
    handle = np.array([session.handle], np.uint32)
    loud = 0
    heard = []
    for number in range(600):
        if number == 0:
            for _ in range(4):  # 80 ms of backlog
                bot_bench.speech.bot_audio(handle, quiet, WIRE)
        if number % 4:
            bot_bench.speech.bot_audio(handle, frame(loud), WIRE)
            loud += 1
        else:
            bot_bench.speech.bot_audio(handle, quiet, WIRE)
        bot_bench.tick(4)
        heard += phone.heard()
    bot_bench.tick(60)
    heard += phone.heard()
    assert [h for h in heard if h != quiet.tobytes()] == [frame(n).tobytes() for n in range(loud)]
    assert sum(h == quiet.tobytes() for h in heard) < 154


def test_clear_stops_speech_within_a_frame_and_says_what_was_heard(bot_bench):
    phone, session = start(bot_bench)
    bot_bench.speech.bot_speech(session.handle, b"".join(frame(n).tobytes() for n in range(200)), WIRE)
    bot_bench.actions.bot_mark(session.handle, "end")
    bot_bench.tick(40)  # 200 ms
    bot_bench.actions.bot_clear(session.handle, "barge-in")
    heard = len(phone.heard())
    bot_bench.tick(40)
    assert phone.heard() == []
    played = [event.played for _, event in bot_bench.bots.events if event.HasField("played")]
    assert [(p.mark, p.cleared) for p in played] == [("end", True), ("barge-in", True)]
    assert played[1].played_ms == heard * 20
    assert played[1].dropped_ms == 4000 - heard * 20
    assert bot_bench.bots.consumed_bytes[session.handle] == 200 * 160


def test_a_mark_fires_when_the_speech_before_it_was_played(bot_bench):
    _, session = start(bot_bench)
    for number in range(10):
        say(bot_bench, session, number)
    bot_bench.actions.bot_mark(session.handle, "ten")
    bot_bench.tick(32)
    assert not [e for _, e in bot_bench.bots.events if e.HasField("played")]
    bot_bench.tick(12)
    (played,) = [e.played for _, e in bot_bench.bots.events if e.HasField("played")]
    assert (played.mark, played.played_ms, played.cleared) == ("ten", 200, False)


def test_hangup_waits_for_the_speech_and_at_once_does_not(bot_bench):
    _, session = start(bot_bench)
    for number in range(10):
        say(bot_bench, session, number)
    bot_bench.actions.bot_hangup(session.handle, "bye", at_once=False)
    bot_bench.tick(20)
    assert bot_bench.edge.of("bot_hangup") == []
    bot_bench.actions.bot_transfer(session.handle, "sip:a@b", at_once=True)
    assert [t.target for t in bot_bench.edge.of("transfer_requested")] == ["sip:a@b"]
    bot_bench.tick(30)
    assert [h.reason for h in bot_bench.edge.of("bot_hangup")] == ["bye"]


def test_a_drain_ends_after_a_minute(bot_bench):
    _, session = start(bot_bench, start=False)  # not answered: nothing is played
    say(bot_bench, session, 1)
    bot_bench.actions.bot_finished(session.handle)
    bot_bench.command(session.call_id, adopt=pb.Adopt())
    bot_bench.tick(11_900)
    assert bot_bench.edge.of("bot_finished") == []
    bot_bench.tick(200)
    assert len(bot_bench.edge.of("bot_finished")) == 1


def test_what_is_said_before_the_answer_is_played_from_the_answer(bot_bench):
    phone = bot_bench.phone()
    session = bot_bench.call(phone, bot="bot:1", start=False)
    for number in range(5):
        say(bot_bench, session, number)
    bot_bench.tick(40)
    assert phone.received() == []
    bot_bench.command(session.call_id, start=pb.Start())
    bot_bench.tick(40)
    assert phone.heard() == [frame(n).tobytes() for n in range(5)]
    assert len(bot_bench.edge.of("bot_spoke")) == 1


def test_keys_of_the_bot_reach_the_caller_and_speech_waits_for_them(bot_bench):
    phone, session = start(bot_bench)
    bot_bench.actions.bot_send_dtmf(session.handle, "42", 100)
    bot_bench.actions.bot_send_dtmf(session.handle, "7", 0)
    say(bot_bench, session, 1)
    receiver = DtmfReceiver(8000)
    speech = 0
    for _ in range(400):
        bot_bench.tick()
        for packet in phone.received():
            if packet.payload_type == 101:
                receiver.receive_packet(
                    packet.payload,
                    timestamp=packet.timestamp,
                    sequence=packet.sequence,
                    marker=packet.marker,
                    now=bot_bench.loop.now,
                )
            elif packet.payload == frame(1).tobytes():
                speech += 1
    digits = []
    while (event := receiver.next_event()) is not None:
        if isinstance(event, DigitEnded):
            digits.append(event.digit)
    assert digits == ["4", "2", "7"]
    assert speech == 1


def test_speech_during_hold_is_not_counted_as_played(bot_bench):
    phone, session = start(bot_bench)
    inactive = bot_bench.media(phone, direction=pb.MEDIA_DIRECTION_INACTIVE)
    bot_bench.command(session.call_id, generation=2, modify=pb.Modify(media=inactive))
    for number in range(10):
        say(bot_bench, session, number)
        bot_bench.tick(4)
    bot_bench.tick(8)
    assert phone.received() == []
    assert int(bot_bench.plane.playout.played[session.row]) == 0
    assert bot_bench.bots.consumed_bytes[session.handle] == 1600
    assert [e.hold.on_hold for _, e in bot_bench.bots.events if e.HasField("hold")] == [True]


def test_audio_beyond_64_kib_is_refused_and_the_rest_is_played(bot_bench):
    phone, session = start(bot_bench)
    bot_bench.speech.bot_speech(session.handle, b"\x05" * 100_000, WIRE)
    assert bot_bench.plane.playout.refused == 100_000 - 65536
    heard = 0
    for _ in range(450):
        bot_bench.tick(4)
        heard += sum(len(p.rstrip(b"\xff")) for p in phone.heard())
    assert heard == 65536


def test_the_bot_gets_a_frame_every_20_ms_with_rising_seq(bot_bench):
    phone, session = start(bot_bench)
    bot_bench.bots.blocks.clear()
    for n in range(50):
        if n != 20:
            phone.say()
        else:
            phone.sequence, phone.timestamp = phone.sequence + 1, phone.timestamp + 160
        bot_bench.tick(4)
    rows = [
        (tick, int(b.seq[0]), int(b.flags[0])) for tick, b in bot_bench.bots.blocks if session.row in b.rows
    ]
    assert [b[1] - a[1] for a, b in itertools.pairwise(rows)] == [1] * (len(rows) - 1)
    assert 48 <= len(rows) <= 51
    assert [flags for _, _, flags in rows].count(1) == 1


def test_what_a_late_bot_says_for_an_old_call_is_not_heard_in_the_next(bot_bench):
    phone, session = start(bot_bench)
    old = session.handle
    bot_bench.command(session.call_id, generation=2, release=pb.Release(reason="bye"))
    phone, session = start(bot_bench, call_id="call-2")
    assert session.row == old & 0xFFFF
    bot_bench.speech.bot_audio(np.array([old], np.uint32), frame(3), WIRE)
    bot_bench.speech.bot_speech(old, frame(3).tobytes(), WIRE)
    bot_bench.actions.bot_hangup(old, "late", at_once=True)
    bot_bench.tick(20)
    assert phone.heard() == []
    assert bot_bench.edge.of("bot_hangup") == []
    assert voicebot_pb2.CallEvent().WhichOneof("payload") is None
