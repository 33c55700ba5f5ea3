"""The caller may choose the codec at any time: in the ACK of an INVITE without offer, or by a re-INVITE."""

import pytest
from gatewaykit.gateway import Gateway, eventually
from gatewaykit.phone import Phone, PhoneCall, media_of
from gatewaykit.rtp import longest_echo, noise

pytestmark = pytest.mark.system
_PCMU, _PCMA = 0, 8


def description(call: PhoneCall, codec: int) -> str:
    """Make a description with that codec alone."""
    return (
        call.offer()
        .replace("AVP 0 8 101", f"AVP {codec} 101")
        .replace("o=- 1 1", f"o=- 1 {call.cseq}")
        .replace(f"a=rtpmap:{_PCMA - codec} {'PCMA' if codec == _PCMU else 'PCMU'}/8000\r\n", "")
    )


async def hears_itself_in(codec: int, call: PhoneCall) -> bool:
    """Whether half a second comes back in one piece, in that codec alone."""
    audio = noise(1.5, seed=codec)
    call.rtp.received.clear()
    call.rtp.payload_type = codec
    await call.rtp.stream(audio, call.media)
    return longest_echo(audio, call.rtp.audio()) >= 4000


@pytest.mark.parametrize("codec", [_PCMU, _PCMA])
async def test_an_invite_without_offer_gets_audio_as_its_ack_answers(
    gateway: Gateway, phone: Phone, codec: int
) -> None:
    call = await phone.new_call("builtin", gateway.sip(), sdp="")
    ok = await call.invite(ack=False)
    assert ok.status == 200
    call.media = media_of(ok.body)
    call.send(call.request("ACK", description(call, codec)))

    async def is_heard() -> bool:
        return await hears_itself_in(codec, call)

    await eventually(is_heard, 10)
    assert (await call.bye()).status == 200


@pytest.mark.parametrize("user", ["echo", "builtin"])
async def test_a_call_changes_its_codec_and_goes_on(gateway: Gateway, phone: Phone, user: str) -> None:
    call = await phone.call(user, gateway.sip())
    assert await hears_itself_in(_PCMU, call)
    call.cseq += 1
    call.sdp = description(call, _PCMA)
    ok = await call.invite()
    assert ok.status == 200
    assert b"RTP/AVP 8 101" in ok.body
    # PCMA is converted for a bot of PCMU and back, so not every byte comes back as it went.
    audio = noise(1.5, seed=5)
    call.rtp.received.clear()
    call.rtp.payload_type = _PCMA
    await call.rtp.stream(audio, call.media)
    heard = call.rtp.audio()
    assert {packet.payload_type for packet in call.rtp.received[10:]} == {_PCMA}
    if user == "builtin":
        assert longest_echo(audio, heard) >= 4000
    else:
        assert len(set(heard)) > 100, "the bot is heard"
    assert (await call.bye()).status == 200
