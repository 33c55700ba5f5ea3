"""Keys that callers press reach bot and edge once, and cost no voice: over real sockets."""

import struct

import pytest

from sipgw.api.relay.v1 import control_pb2 as pb
from sipgw.rtp import RtpPacket

KEY_SSRC = 0x0E0E0E0E


class Keypad:
    """Sends keys of eight packets under an SSRC and numbers of its own."""

    def __init__(self, phone, ssrc=KEY_SSRC, sequence=500):
        self.phone, self.ssrc, self.sequence = phone, ssrc, sequence

    def packets(self, digit):
        begin = self.phone.timestamp
        for n in range(8):
            payload = struct.pack("!BBH", int(digit), (0x80 if n >= 5 else 0) | 10, 160 * min(n + 1, 6))
            yield RtpPacket(101, self.sequence & 0xFFFF, begin, self.ssrc, n == 0, payload)
            self.sequence += 1


def press(bench, phone, keypad, digits, *, voice):
    """Press the keys; return the frames said meanwhile and in pauses of 100 ms."""
    said = []
    for digit in digits:
        for packet in keypad.packets(digit):
            phone.send(packet)
            if voice:
                said += bench.talk(phone, 1)
            else:
                phone.timestamp += 160
                bench.tick(4)
        said += bench.talk(phone, 5)
    return said


def digits(bench):
    return "".join(digit.digit for digit in bench.edge.of("digit_received"))


def heard_by_bot(bench):
    return [frame.tobytes() for _, block in bench.bots.blocks for frame in block.payload]


@pytest.mark.parametrize("voice", [True, False], ids=["voice goes on", "voice pauses"])
@pytest.mark.parametrize("sequence", [500, 0xFFF0, 103], ids=str)
def test_keys_under_an_ssrc_of_their_own_cost_no_voice(bot_bench, voice, sequence):
    phone = bot_bench.phone()
    session = bot_bench.call(phone, bot="bot:1")
    said = bot_bench.talk(phone, 20)
    said += press(bot_bench, phone, Keypad(phone, sequence=sequence), "123", voice=voice)
    said += bot_bench.talk(phone, 20)
    bot_bench.tick(40)
    assert digits(bot_bench) == "123"
    heard = heard_by_bot(bot_bench)
    assert [frame for frame in heard if frame in said] == said
    assert bot_bench.plane.receiver.ssrc[session.row] == phone.ssrc
    totals = bot_bench.plane.receiver.totals(session.row)
    assert (totals.received, totals.lost) == (len(said), 0)


def test_keys_numbered_apart_from_the_audio_under_its_ssrc_cost_no_voice(bot_bench):
    phone = bot_bench.phone()
    bot_bench.call(phone, bot="bot:1")
    said = bot_bench.talk(phone, 5)
    said += press(bot_bench, phone, Keypad(phone, ssrc=phone.ssrc, sequence=40_000), "12", voice=True)
    bot_bench.tick(40)
    assert digits(bot_bench) == "12"
    assert [frame for frame in heard_by_bot(bot_bench) if frame in said] == said


def test_voice_that_comes_after_keys_of_another_ssrc_is_heard_from_its_first_frame(bot_bench):
    phone = bot_bench.phone()
    session = bot_bench.call(phone, bot="bot:1")
    for packet in Keypad(phone).packets("7"):
        phone.send(packet)
        phone.timestamp += 160
        bot_bench.tick(4)
    said = bot_bench.talk(phone, 10)
    bot_bench.tick(40)
    assert digits(bot_bench) == "7"
    assert [frame for frame in heard_by_bot(bot_bench) if frame in said] == said
    assert bot_bench.plane.receiver.ssrc[session.row] == phone.ssrc


def test_voice_of_a_new_ssrc_is_heard_at_once_when_the_old_one_left_only_keys(bot_bench):
    phone = bot_bench.phone()
    bot_bench.call(phone, bot="bot:1")
    bot_bench.talk(phone, 10)
    press(bot_bench, phone, Keypad(phone), "1", voice=False)
    keypad = Keypad(phone)
    for packet in keypad.packets("2"):
        phone.send(packet)
        bot_bench.tick(4)
    phone.ssrc, phone.sequence, phone.timestamp = 999, 40_000, 12
    said = bot_bench.talk(phone, 10)
    bot_bench.tick(40)
    assert [frame for frame in heard_by_bot(bot_bench) if frame in said] == said


def test_a_caller_that_only_presses_keys_is_latched_and_never_silent(bot_bench):
    phone = bot_bench.phone()
    session = bot_bench.call(phone, bot="bot:1")
    for packet in Keypad(phone).packets("9"):
        phone.send(packet)
        bot_bench.tick(4)
    assert bot_bench.plane._leg(session.row).latch.latched == (phone.address, phone.port)
    assert bot_bench.number - bot_bench.plane.receiver.last_heard[session.row] < 8


def test_a_key_held_while_another_clock_is_agreed_is_one_digit(bot_bench):
    phone = bot_bench.phone()
    bot_bench.call(phone, bot="bot:1")
    bot_bench.talk(phone, 5)
    for n, packet in enumerate(Keypad(phone).packets("3")):
        if n == 4:
            events = pb.TelephoneEvent(send_payload_type=101, receive_payload_type=101, clock_rate_hz=16_000)
            media = bot_bench.media(phone, telephone_event=events)
            bot_bench.command("call-1", generation=2, modify=pb.Modify(media=media))
            bot_bench.tick()
        phone.send(packet)
        bot_bench.tick(4)
    bot_bench.tick(200)
    assert digits(bot_bench) == "3"


@pytest.mark.parametrize("code", [16, 32, 36, 64, 160, 255], ids=str)
def test_events_that_are_no_keys_are_ignored_and_cost_no_voice(bot_bench, code):
    """Flash, fax and modem tones, trunk signals (RFC 4733 §3.2)."""
    phone = bot_bench.phone()
    bot_bench.call(phone, bot="bot:1")
    said = bot_bench.talk(phone, 5)
    for n in range(5):
        payload = struct.pack("!BBH", code, 0x80 if n > 2 else 0, 160 * n)
        phone.send(RtpPacket(101, phone.sequence, phone.timestamp, phone.ssrc, payload=payload))
        phone.sequence += 1
        said += bot_bench.talk(phone, 1)
    said += press(bot_bench, phone, Keypad(phone), "5", voice=True)
    bot_bench.tick(40)
    assert digits(bot_bench) == "5"
    assert [frame for frame in heard_by_bot(bot_bench) if frame in said] == said


def test_redundant_events_that_were_not_agreed_are_counted_and_cost_no_voice(bot_bench):
    """A sender of RFC 2198 although no answer of ours has it."""
    phone = bot_bench.phone()
    session = bot_bench.call(phone, bot="bot:1")
    said = bot_bench.talk(phone, 5)
    before = bot_bench.plane.receiver.unexpected
    for packet in Keypad(phone).packets("5"):
        redundant = bytes([0x80 | 101, 0, 0, 4, 101]) + packet.payload + packet.payload
        phone.send(RtpPacket(99, packet.sequence, packet.timestamp, KEY_SSRC, payload=redundant))
        said += bot_bench.talk(phone, 1)
    bot_bench.tick(40)
    assert digits(bot_bench) == ""
    assert bot_bench.plane.receiver.unexpected - before == 8
    assert [frame for frame in heard_by_bot(bot_bench) if frame in said] == said
    assert bot_bench.plane.receiver.ssrc[session.row] == phone.ssrc


def signalled(bench, digit):
    return bench.command("call-1", press_key=pb.PressKey(digit=digit, duration_ms=160))


def test_keys_that_signalling_names_reach_bot_and_edge(bot_bench):
    bot_bench.call(bot_bench.phone(), bot="bot:1")
    for digit in "5#":
        assert signalled(bot_bench, digit).status == pb.COMMAND_STATUS_OK
    bot_bench.tick(4)
    assert digits(bot_bench) == "5#"
    assert [(one[1], one[2]) for one in bot_bench.bots.digits] == [
        ("5", False),
        ("5", True),
        ("#", False),
        ("#", True),
    ]
    refused = signalled(bot_bench, "x")
    assert refused.status == pb.COMMAND_STATUS_INVALID
    assert "press_key.digit" in refused.message


@pytest.mark.parametrize("first", ["RTP", "signalling"])
def test_of_a_phone_that_sends_keys_both_ways_each_key_counts_once(bot_bench, first):
    phone = bot_bench.phone()
    bot_bench.call(phone, bot="bot:1")
    keypad = Keypad(phone)
    bot_bench.talk(phone, 5)
    for digit in "123":
        if first == "signalling":
            signalled(bot_bench, digit)
        press(bot_bench, phone, keypad, digit, voice=True)
        if first == "RTP":
            signalled(bot_bench, digit)
    bot_bench.tick(40)
    assert digits(bot_bench) == "123"
