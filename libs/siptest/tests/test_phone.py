import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest

from sipgw.audio.g711 import mulaw_encode
from sipgw.sdp import Direction
from sipgw.sip import TimerValues, make_response
from sipgw.siptest import (
    CallOver,
    CallRefused,
    CallTimedOut,
    EndedBy,
    NoRoute,
    PhoneCall,
    SipPhone,
    echo_latencies,
    find_signal,
    speech_like,
    summarise,
)


@pytest.fixture
async def alice() -> AsyncIterator[SipPhone]:
    async with await SipPhone.open(user="alice") as phone:
        yield phone


@pytest.fixture
async def bob() -> AsyncIterator[SipPhone]:
    async with await SipPhone.open(user="bob") as phone:
        yield phone


async def connect(alice: SipPhone, bob: SipPhone, **options: object) -> tuple[PhoneCall, PhoneCall]:
    """Alice calls bob, who answers at once."""
    ours = alice.invite(bob.uri, **options)
    incoming = await bob.incoming()
    theirs = incoming.answer()
    await ours.answered()
    return ours, theirs


def sent(phone: SipPhone) -> list[str]:
    return [message.first_line for message in phone.messages if message.is_sent]


async def test_a_call_is_answered_talked_in_and_hung_up(alice: SipPhone, bob: SipPhone) -> None:
    speech = speech_like(0.5)
    ours, theirs = await connect(alice, bob, audio=speech)
    await ours.played()
    await ours.hangup()
    end = await theirs.ended()
    assert end.by is EndedBy.PEER
    assert ours.end is not None
    assert ours.end.by is EndedBy.US
    heard = theirs.received.payload()
    assert heard[:4000] == mulaw_encode(speech).tobytes()
    methods = [line.split()[0] for line in sent(alice)]
    assert list(dict.fromkeys(methods)) == ["INVITE", "ACK", "BYE"], "each once, or again after 500 ms"


async def test_statistics_of_a_quiet_loopback_call(alice: SipPhone, bob: SipPhone) -> None:
    ours, theirs = await connect(alice, bob, audio=speech_like(0.4))
    await ours.played()
    await theirs.changes.until(lambda: len(theirs.received.packets) >= 20, 5, "packets")
    await ours.hangup()
    mine, other = ours.statistics(), theirs.statistics()
    assert mine.packets_sent == other.packets_received >= 20
    assert mine.packets_lost == other.packets_lost == 0
    assert mine.answer_time_ms is not None
    assert 0 < mine.answer_time_ms < 1000
    assert other.packets_strange == 0


async def test_digits_are_heard_in_both_directions(alice: SipPhone, bob: SipPhone) -> None:
    ours, theirs = await connect(alice, bob)
    await asyncio.gather(
        ours.send_dtmf("12#", duration_ms=40, gap_ms=40), theirs.send_dtmf("0*D", duration_ms=40, gap_ms=40)
    )
    await theirs.heard("12#")
    await ours.heard("0*D")
    assert ours.statistics().digits_sent == "12#"
    with pytest.raises(ValueError, match="not a key"):
        await ours.send_dtmf("12x")


async def test_an_echo_is_measured_by_what_its_packets_carried(alice: SipPhone, bob: SipPhone) -> None:
    speech = speech_like(1.2)
    ours, theirs = await connect(alice, bob, audio=speech)
    theirs.play(np.concatenate((np.zeros(400, np.int16), speech)))  # bob says the same, 50 ms later
    await theirs.played()
    summary = summarise(echo_latencies(ours.media.sent_track, ours.received.track))
    assert summary is not None
    late_ms = ours.statistics().worst_own_clock_ms + theirs.statistics().worst_own_clock_ms
    assert 40 - late_ms < summary.p50_ms < 300 + late_ms  # 50 ms of silence, and the delay of the 200
    match = find_signal(ours.received.pcm(), speech[2000:4000])
    assert match is not None
    assert match.score > 0.99


async def test_hold_and_resume_stop_and_start_the_audio(alice: SipPhone, bob: SipPhone) -> None:
    ours, theirs = await connect(alice, bob)
    await ours.hold()
    assert ours.media.current is not None
    assert ours.media.current.direction is Direction.SENDONLY
    assert theirs.media.current is not None
    assert theirs.media.current.direction is Direction.RECVONLY
    before = theirs.statistics().packets_sent
    await theirs.changes.until(lambda: True, 1, "")
    await asyncio.sleep(0.06)
    assert theirs.statistics().packets_sent == before
    await ours.resume()
    assert theirs.media.current.direction is Direction.SENDRECV
    await ours.hangup()


async def test_a_busy_phone_refuses_with_486(alice: SipPhone, bob: SipPhone) -> None:
    ours = alice.invite(bob.uri)
    (await bob.incoming()).reject(486)
    with pytest.raises(CallRefused, match="486 Busy Here"):
        await ours.answered()
    assert ours.end is not None
    assert ours.end.by is EndedBy.REFUSED
    await ours.hangup()  # the call is over, so this returns at once


async def test_a_cancelled_call_ends_with_487_on_both_sides(alice: SipPhone, bob: SipPhone) -> None:
    ours = alice.invite(bob.uri)
    incoming = await bob.incoming()
    incoming.ring()
    await ours.ringing()
    await ours.hangup()
    await incoming.cancelled()
    assert ours.final_response is not None
    assert ours.final_response.status == 487
    with pytest.raises(CallRefused, match="487"):
        await ours.answered()


async def test_a_200_that_crosses_the_cancel_is_acked_and_hung_up(alice: SipPhone, bob: SipPhone) -> None:
    ours = alice.invite(bob.uri)
    incoming = await bob.incoming()
    incoming.ring()
    await ours.ringing()
    cancelling = asyncio.create_task(ours.cancel())
    theirs = incoming.answer()
    await cancelling
    await theirs.ended()
    assert ours.has_ended


async def test_an_invite_without_offer_is_answered_in_the_ack(alice: SipPhone, bob: SipPhone) -> None:
    ours, theirs = await connect(alice, bob, offer=False, audio=speech_like(0.2))
    await ours.played()
    await theirs.changes.until(lambda: len(theirs.received.packets) >= 10, 5, "packets")
    assert theirs.acks[0].body
    await ours.hangup()


async def test_a_suppressed_ack_has_the_200_repeated_until_it_comes(alice: SipPhone, bob: SipPhone) -> None:
    ours, theirs = await connect(alice, bob, ack=False)
    assert ours.outgoing is not None
    await ours.outgoing.changes.until(
        lambda: sum(r.status == 200 for r in ours.outgoing.client.responses) >= 2, 5, "copy of the 200"
    )
    assert theirs.acks == []
    ours.outgoing.send_ack()
    await theirs.changes.until(lambda: len(theirs.acks) == 1, 5, "ACK")
    await ours.hangup()


async def test_the_rest_of_a_call_can_be_sent_elsewhere(alice: SipPhone, bob: SipPhone) -> None:
    ours, _ = await connect(alice, bob)
    async with await SipPhone.open(user="edge-b") as other:
        ours.destination = other.address
        with pytest.raises(CallRefused, match="481"):
            await ours.hold()
        assert any(m.first_line.startswith("INVITE") for m in other.messages)
        ours.destination = None
        await ours.hangup()


async def test_codec_and_packet_length_are_as_asked(alice: SipPhone, bob: SipPhone) -> None:
    ours, theirs = await connect(alice, bob, codecs=("PCMA",), ptime_ms=40, telephone_event=False)
    assert theirs.media.current is not None
    assert (theirs.media.current.codec, theirs.media.current.ptime_ms) == ("PCMA", 40)
    assert theirs.media.current.telephone_event is None
    await ours.hangup()


async def test_payload_bytes_go_out_as_they_are(alice: SipPhone, bob: SipPhone) -> None:
    payload = bytes(range(256)) * 5
    ours, theirs = await connect(alice, bob, audio=payload)
    await ours.played()
    await theirs.changes.until(lambda: len(theirs.received.audio_packets) >= 8, 5, "packets")
    assert theirs.received.payload()[:1280] == payload
    await ours.hangup()


async def test_options_are_answered_and_unknown_dialogs_are_not(alice: SipPhone, bob: SipPhone) -> None:
    assert (await alice.request("OPTIONS", bob.uri)).status == 200
    assert (await alice.request("PUBLISH", bob.uri)).status == 405


async def test_a_test_may_answer_in_the_phones_place(alice: SipPhone, bob: SipPhone) -> None:
    ours, theirs = await connect(alice, bob)
    bob.on_request = lambda received: (
        make_response(received.request, 500) if received.request.method == "INVITE" else None
    )
    with pytest.raises(CallRefused, match="500"):
        await ours.hold()
    response = await ours.request("INFO", b"x", "text/plain")
    assert response.status == 200
    assert theirs.requests[-1].body == b"x"
    await ours.hangup()


async def test_nobody_there_times_out(alice: SipPhone) -> None:
    async with await SipPhone.open(timers=TimerValues(t1_s=0.005)) as hasty:
        ours = hasty.invite("sip:nobody@127.0.0.1:9")
        with pytest.raises(CallTimedOut):
            await ours.answered()
    with pytest.raises(CallTimedOut, match=r"no answer within 0\.05 s"):
        await alice.call("sip:nobody@127.0.0.1:9", timeout_s=0.05)


@pytest.mark.parametrize(
    "uri", ["tel:+4912345", "sip:x@no-such-host.invalid", "sip:x@127.0.0.1;transport=tcp"]
)
async def test_what_cannot_be_called_says_why(alice: SipPhone, uri: str) -> None:
    with pytest.raises(NoRoute):
        alice.invite(uri)


async def test_a_call_that_was_never_answered_has_no_dialog(alice: SipPhone, bob: SipPhone) -> None:
    ours = alice.invite(bob.uri)
    await bob.incoming()
    with pytest.raises(CallOver):
        await ours.request("INFO")


async def test_fifty_calls_at_once_on_one_phone(alice: SipPhone, bob: SipPhone) -> None:
    calls = [alice.invite(bob.uri) for _ in range(50)]
    for _ in calls:
        (await bob.incoming()).answer()
    await asyncio.gather(*(call.answered() for call in calls))
    await asyncio.gather(*(call.hangup() for call in calls))
    assert all(call.end is not None and call.end.by is EndedBy.US for call in calls)
