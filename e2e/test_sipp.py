"""Calls by SIPp."""

from pathlib import Path

import pytest
from gatewaykit.foreign import needs_sipp
from gatewaykit.gateway import Gateway, eventually
from gatewaykit.phone import Phone
from gatewaykit.sipp import run_sipp
from gatewaykit.speech import make_speech

from sipgw.runtime.patience import patient

pytestmark = [pytest.mark.system, pytest.mark.sipp, needs_sipp]


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    """Write the speech that the scenarios play; rtp_stream sends raw µ-law of a WAV as PT 0."""
    path = tmp_path / "speech.wav"
    make_speech(path, seed=1)
    return path


async def relay_packets(gateway: Gateway) -> int:
    """Count the packets received by all relays, from the edges' log lines of ended calls."""
    totals = [line for edge in gateway.edges for line in edge.lines() if line.get("event") == "media_ended"]
    return sum(line["packets_received"] for line in totals)


async def test_a_call_with_audio(gateway: Gateway, tmp_path: Path, speech: Path) -> None:
    before = await relay_packets(gateway)
    await run_sipp("uac_audio", gateway.sip(), tmp_path)

    async def has_come() -> bool:
        return await relay_packets(gateway) - before >= 100

    await eventually(has_come, 3)


async def test_an_invite_sent_again_while_it_rings_is_answered_again_and_is_one_call(
    gateway: Gateway, tmp_path: Path
) -> None:
    await run_sipp("uac_invite_retransmitted", gateway.sip(), tmp_path, user="ringing", options=("-nr",))
    text = (tmp_path / "messages.log").read_text()
    assert text.count("SIP/2.0 180 Ringing") >= 2, "the transaction answers with its last provisional"
    tags = {line.split("tag=")[1] for line in text.splitlines() if line.startswith("To:") and "tag=" in line}
    assert len(tags) == 1, f"one dialog wanted: {tags}"


async def test_a_lost_ack_is_made_up_for_by_the_200_sent_again_until_an_ack_comes(
    gateway: Gateway, tmp_path: Path
) -> None:
    await run_sipp("uac_lost_ack", gateway.sip(), tmp_path)
    text = (tmp_path / "messages.log").read_text()
    before, _, after = text.partition("\nACK ")
    assert before.count("SIP/2.0 200 OK") >= 3, "the 200 at 0, 0.5 and 1.5 s"
    assert after.count("CSeq: 1 INVITE") == 0, "a 200 came after the ACK"


@pytest.mark.slow
async def test_a_call_never_acked_is_ended_by_a_bye_after_64_t1(gateway: Gateway, tmp_path: Path) -> None:
    await run_sipp("uac_no_ack", gateway.sip(), tmp_path, timeout_s=45)


async def test_a_cancel_is_answered_and_the_invite_ends_with_487(gateway: Gateway, tmp_path: Path) -> None:
    await run_sipp("uac_cancel", gateway.sip(), tmp_path, user="ringing")


async def test_options_are_answered(gateway: Gateway, tmp_path: Path) -> None:
    await run_sipp("uac_options", gateway.sip(), tmp_path, calls=20, rate=20)


def is_of_a_late_relay(line: dict[str, object]) -> bool:
    """Whether a log line says that a relay without a processor took no call, or that a call left it."""
    is_refusal = line["event"] == "call_ending" and "late" in str(line.get("reason"))
    return is_refusal or line["event"] == "move_begun"


async def test_a_hundred_calls_at_ten_a_second_all_succeed(
    gateway: Gateway, phone: Phone, tmp_path: Path, speech: Path
) -> None:
    """Calls of relays that a busy machine makes late may fail: this scenario knows no re-INVITE."""
    edge = gateway.edges[0]
    begin = edge.log_size()
    result = await run_sipp(
        "uac_short", gateway.sip(), tmp_path, calls=100, rate=10, timeout_s=60, may_fail=True
    )
    excused = sum(map(is_of_a_late_relay, edge.lines(begin)))
    assert result.failed <= excused
    assert not excused or patient(1.0) > 1.0, "on a quiet machine"
    assert result.retransmissions <= 20, f"{result.retransmissions} requests had to be sent again"

    async def none_left() -> bool:
        return not await gateway.calls()

    await eventually(none_left, 5)
