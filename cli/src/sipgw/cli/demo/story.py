"""The steps of the demo: start a gateway, call, press keys, end. It reports each step and judges nothing."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from sipgw.local.events import ServiceCrashed, ServiceLogged, ServiceStarted, SupervisorEvent
from sipgw.local.gateway import LocalGateway
from sipgw.local.ports import PortRange
from sipgw.local.settings import GatewayOptions, settle
from sipgw.siptest import (
    CallRefused,
    CallStatistics,
    LatencySummary,
    PhoneCall,
    SipPhone,
    echo_latency,
    speech_like,
)

DIGITS = "159#"
_SPEECH_S = 5.0
_KEYS_AT_S = 1.2
_BETWEEN_KEYS_S = 0.35
_PATIENCE_S = 30.0
_LOOPBACK = "127.0.0.1"
_RTP = PortRange(26000, 26399)  # taken ports are skipped

Tell = Callable[[str, str], None]  # the event and its detail


@dataclass(frozen=True, slots=True)
class Moment:
    """An event on the time line of the call; monotonic seconds."""

    at_s: float
    label: str


@dataclass(slots=True)
class Story:
    """The results of the demo. `call_id` is the gateway's own."""

    call: PhoneCall
    moments: list[Moment] = field(default_factory=list[Moment])
    digits_sent: str = ""
    digits_heard: str = ""
    """The digits that the bot heard."""
    crashes: list[str] = field(default_factory=list[str])
    call_id: str = ""
    recording: Path | None = None
    statistics: CallStatistics | None = None
    latency: LatencySummary | None = None


class Listener:
    """Follows the processes' events: starts, crashes, and the keys that the bot logs."""

    def __init__(self, tell: Tell) -> None:
        self.digits = ""
        self.crashes: list[str] = []
        self._tell = tell

    def __call__(self, event: SupervisorEvent) -> None:
        """Take an event of the supervisor."""
        match event:
            case ServiceStarted(name=name, pid=pid, seconds=seconds):
                self._tell(f"{name} runs", f"pid {pid}, after {seconds:.1f} s")
            case ServiceCrashed(name=name, how=how):
                self._tell(f"{name} is gone", f"it {how}; starting it again")
                self.crashes.append(f"{name} {how}")
            case ServiceLogged(name=name, line=line) if line.event == "compiling_kernels":
                self._tell(f"{name} compiles the media plane", "once for this version; some ten seconds ...")
            case ServiceLogged(name="bot", line=line) if line.event == "digit_received" and line.record:
                self.digits += str(line.record.get("digit", ""))
            case _:
                pass


async def play(out: Path, tell: Tell, *, redis_url: str | None) -> Story:
    """Run the demo. Raises LocalError when the gateway does not start, SipTestError when the call fails."""
    began = time.monotonic()
    listener = Listener(tell)
    settings = settle(
        GatewayOptions(
            sip_host=_LOOPBACK,
            sip_port=0,
            rtp_ports=_RTP,
            advertise=_LOOPBACK,
            redis_url=redis_url,
            recordings=out / "recordings",
        )
    )
    async with LocalGateway(settings, log_directory=out / "logs", on_event=listener) as gateway:
        tell("gateway is ready", f"{gateway.sip_addresses[0]}, after {time.monotonic() - began:.1f} s")
        async with await SipPhone.open(_LOOPBACK, user="demo") as phone:
            story = await _call(phone, gateway, listener, tell)
        await _find_recording(story, out)
    story.latency = await asyncio.to_thread(echo_latency, story.call.media)
    tell("gateway has ended", "no process is left")
    return story


async def _call(phone: SipPhone, gateway: LocalGateway, listener: Listener, tell: Tell) -> Story:
    uri = f"sip:echo@{gateway.sip_addresses[0]}"
    call = await _answered(phone, uri, tell)
    story = Story(call)
    answer_s = call.times.answer_time_s or 0.0
    media = call.media.current
    assert media is not None
    tell("answered", f"{answer_s * 1000:.0f} ms after the INVITE; {media.codec}, {media.ptime_ms} ms packets")
    story.call_id = await _call_id_of(call, gateway)
    tell("talking", f"{_SPEECH_S:.0f} s of speech; the bot says every word again")
    await asyncio.sleep(_KEYS_AT_S)
    for digit in DIGITS:
        story.moments.append(Moment(time.monotonic(), digit))
        await call.send_dtmf(digit)
        story.digits_sent += digit
        await asyncio.sleep(_BETWEEN_KEYS_S)
    tell("keys pressed", f"{' '.join(DIGITS)} (RFC 4733)")
    await call.played()
    await asyncio.sleep(0.4)  # time for the echo of the last word
    await call.hangup()
    tell("hung up", "BYE was answered")
    story.statistics = call.statistics()
    story.moments += _sip_moments(phone)
    await _until(lambda: len(listener.digits) >= len(DIGITS), 1.0)
    story.digits_heard, story.crashes = listener.digits, listener.crashes
    return story


async def _answered(phone: SipPhone, uri: str, tell: Tell) -> PhoneCall:
    """Place the call; again while the response is 503: a relay whose audio is late takes no call."""
    speech = speech_like(_SPEECH_S)
    until_s = time.monotonic() + _PATIENCE_S
    while True:
        tell("INVITE", uri)
        try:
            return await phone.call(uri, audio=speech)
        except CallRefused as refused:
            if refused.status != 503 or time.monotonic() > until_s:
                raise
            tell("refused", f"{refused}; once more")
        await asyncio.sleep(1.0)


async def _call_id_of(call: PhoneCall, gateway: LocalGateway) -> str:
    """Return the gateway's id of our call; a shared Redis may hold other calls."""
    assert call.final_response is not None
    sip_call_id = call.final_response.call_id
    live = await gateway.registry.list_calls()
    return next((one.call_id for one in live if one.sip_call_id == sip_call_id), "")


def _sip_moments(phone: SipPhone) -> list[Moment]:
    """Return the messages of the call, by method or status."""
    moments: list[Moment] = []
    for message in phone.messages:
        words = message.first_line.split()
        label = " ".join(words[1:]) if words[0].startswith("SIP/") else words[0]
        moments.append(Moment(message.at_s, label))
    return moments


async def _find_recording(story: Story, out: Path) -> None:
    """Find the <call id>.wav of the relay; its last second may come a moment after the BYE."""
    path = out / "recordings" / f"{story.call_id}.wav"
    await _until(path.exists, 2.0)
    story.recording = path if path.exists() else None


async def _until(condition: Callable[[], bool], timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition() and time.monotonic() < deadline:  # noqa: ASYNC110 - files and logs say nothing
        await asyncio.sleep(0.05)
