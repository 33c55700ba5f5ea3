import pytest

from sipgw.rtp import DigitEnded, DtmfReceiver, DtmfSender, EventPacket, TelephoneEvent
from sipgw.rtp.telephone_event import DIGITS


def run(sender: DtmfSender, periods: int, start: int = 1000) -> list[EventPacket | None]:
    return [sender.next_packet((start + 160 * period) & 0xFFFFFFFF) for period in range(periods)]


def test_a_tone_is_updates_then_its_end_three_times_then_a_pause():
    sender = DtmfSender("5", tone_ms=60, gap_ms=120)
    packets = run(sender, 9)
    events = [TelephoneEvent.parse(packet.payload) for packet in packets if packet]
    assert [(one.event, one.duration, one.end) for one in events] == [
        (5, 160, False),
        (5, 320, False),
        (5, 480, True),
        (5, 480, True),
        (5, 480, True),
    ]
    assert [packet.marker for packet in packets if packet] == [True, False, False, False, False]
    assert {packet.timestamp for packet in packets if packet} == {1000}
    assert [packet is None for packet in packets] == [False] * 5 + [True] * 4
    assert sender.is_finished


def test_the_next_digit_has_its_own_timestamp_after_the_pause():
    packets = run(DtmfSender("12", tone_ms=100, gap_ms=100), 20)
    assert [packet.timestamp for packet in packets if packet and packet.marker] == [1000, 1000 + 10 * 160]


def test_the_last_packet_is_sent_three_times_even_without_a_pause():
    packets = run(DtmfSender("12", tone_ms=20, gap_ms=0), 8)
    ends = [TelephoneEvent.parse(packet.payload) for packet in packets if packet]
    assert [(one.event, one.end) for one in ends] == [(1, True)] * 3 + [(2, True)] * 3


@pytest.mark.parametrize("start", [0, 0xFFFFFFFF - 800])
def test_a_receiver_hears_what_is_sent(start: int):
    sender, receiver, heard, period = DtmfSender(DIGITS.lower(), tone_ms=80), DtmfReceiver(), [], 0
    while not sender.is_finished:
        timestamp = (start + 160 * period) & 0xFFFFFFFF
        if packet := sender.next_packet(timestamp):
            receiver.receive_packet(
                packet.payload,
                timestamp=packet.timestamp,
                sequence=period & 0xFFFF,
                marker=packet.marker,
                now=0.02 * period,
            )
        period += 1
        while event := receiver.next_event():
            heard.append(event)
    assert [event for event in heard if isinstance(event, DigitEnded)] == [
        DigitEnded(digit, 80) for digit in DIGITS
    ]


def test_nothing_to_send_is_finished_at_once():
    sender = DtmfSender("")
    assert sender.is_finished
    assert sender.next_packet(0) is None


@pytest.mark.parametrize(("digits", "tone_ms"), [("12x", 100), ("1 2", 100), ("1", 9000)])
def test_what_can_not_be_sent_is_refused(digits: str, tone_ms: int):
    with pytest.raises(ValueError, match=r"not a key|too long"):
        DtmfSender(digits, tone_ms=tone_ms)
