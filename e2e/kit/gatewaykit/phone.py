"""A plain SIP phone that sends exactly what a test tells it to, without a SIP library."""

import asyncio
import contextlib
import random
import re
import time
from dataclasses import dataclass, field

from gatewaykit.rtp import RtpPort
from sipgw.runtime.patience import patient

T1_S = 0.5
_TIMEOUT_S = 10.0
Address = tuple[str, int]


def token() -> str:
    return f"{random.getrandbits(64):016x}"


@dataclass(frozen=True)
class Message:
    """A SIP message as received: start line, headers by lower-case name, body."""

    start: str
    headers: dict[str, list[str]]
    body: bytes
    at: float = 0.0

    @classmethod
    def parse(cls, data: bytes) -> "Message":
        head, _, body = data.partition(b"\r\n\r\n")
        start, *lines = head.decode("utf-8", "replace").split("\r\n")
        headers: dict[str, list[str]] = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers.setdefault(name.strip().lower(), []).append(value.strip())
        return cls(start, headers, body, time.monotonic())

    @property
    def status(self) -> int:
        return int(self.start.split()[1]) if self.start.startswith("SIP/2.0") else 0

    @property
    def method(self) -> str:
        return self["cseq"].split()[1]

    def __getitem__(self, name: str) -> str:
        return self.headers[name][0]

    def tag(self, name: str) -> str:
        match = re.search(r";tag=([^;>]+)", self[name])
        return match.group(1) if match else ""


@dataclass
class PhoneCall:
    """The caller's side of a dialog. `seen` holds every message of the call that was received."""

    phone: "Phone"
    user: str
    destination: Address
    rtp: RtpPort
    sdp: str | None = None
    call_id: str = field(default_factory=lambda: f"{token()}@e2e")
    from_tag: str = field(default_factory=token)
    cseq: int = 1
    to: str = ""
    remote_target: str = ""
    branch: str = ""
    seen: list[Message] = field(default_factory=list)
    answer: Message | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    extra: tuple[str, ...] = ()
    media: Address = ("", 0)
    moves: list[Address] = field(default_factory=list)
    """The addresses that the gateway's re-INVITEs named for audio, without copies."""
    reinvite_status: int | None = 200
    """The status of the responses to them; None: no response."""
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def offer(self, direction: str = "sendrecv") -> str:
        """Make the SDP that a plain telephone sends."""
        return "\r\n".join(
            [
                "v=0",
                "o=- 1 1 IN IP4 127.0.0.1",
                "s=-",
                "c=IN IP4 127.0.0.1",
                "t=0 0",
                f"m=audio {self.rtp.port} RTP/AVP 0 8 101",
                "a=rtpmap:0 PCMU/8000",
                "a=rtpmap:8 PCMA/8000",
                "a=rtpmap:101 telephone-event/8000",
                "a=fmtp:101 0-15",
                f"a={direction}",
                "",
            ]
        )

    def request(self, method: str, body: str = "", *, cseq: int | None = None, branch: str = "") -> bytes:
        """Make a request of this dialog."""
        target = self.remote_target or f"sip:{self.user}@{self.destination[0]}:{self.destination[1]}"
        lines = [
            f"{method} {target} SIP/2.0",
            f"Via: SIP/2.0/UDP 127.0.0.1:{self.phone.port};branch={branch or 'z9hG4bK' + token()};rport",
            "Max-Forwards: 70",
            f"From: <sip:alice@127.0.0.1>;tag={self.from_tag}",
            f"To: {self.to or f'<sip:{self.user}@{self.destination[0]}>'}",
            f"Call-ID: {self.call_id}",
            f"CSeq: {self.cseq if cseq is None else cseq} {method}",
            f"Contact: <sip:alice@127.0.0.1:{self.phone.port}>",
            *self.extra,
            *(["Content-Type: application/sdp"] if body else []),
            f"Content-Length: {len(body)}",
            "",
            body,
        ]
        return "\r\n".join(lines).encode()

    def send(self, data: bytes, to: Address | None = None) -> None:
        self.phone.send(data, to or self.destination)

    async def invite(self, *, ack: bool = True, timeout_s: float = _TIMEOUT_S) -> Message:
        """Send INVITE until the final response, and ACK it. After a 200 the call is up, `media` set."""
        self.branch = "z9hG4bK" + token()
        data = self.request("INVITE", self.sdp if self.sdp is not None else self.offer(), branch=self.branch)
        final = await self.transact(data, "INVITE", timeout_s)
        self.answer = final
        self.to = final["to"]
        if final.status < 300:
            contact = re.search(r"<([^>]+)>", final["contact"])
            self.remote_target = contact.group(1) if contact else final["contact"]
            self.media = media_of(final.body)
        if ack:
            self.ack()
        return final

    def ack(self, to: Address | None = None) -> None:
        """Send the ACK of the last INVITE: for a 2xx with a new branch, for a failure with the INVITE's."""
        assert self.answer is not None
        ok = self.answer.status < 300
        self.send(self.request("ACK", branch="" if ok else self.branch), to)

    async def reinvite(self, direction: str = "sendrecv") -> Message:
        """Send a new offer in the dialog, and again while the gateway has one open (RFC 3261 §14.1)."""
        while True:
            self.cseq += 1
            self.sdp = self.offer(direction).replace("o=- 1 1", f"o=- 1 {self.cseq}")
            answer = await self.invite()
            if answer.status != 491:
                return answer
            await asyncio.sleep(0.2)

    async def cancel(self) -> Message:
        """Send a CANCEL of the INVITE under way; return the response to the CANCEL."""
        return await self.transact(self.request("CANCEL", branch=self.branch), "CANCEL", _TIMEOUT_S)

    async def bye(self, timeout_s: float = _TIMEOUT_S) -> Message:
        """Send a BYE; return its response."""
        self.cseq += 1
        answer = await self.transact(self.request("BYE"), "BYE", timeout_s)
        self.ended.set()
        return answer

    async def wait_ended(self, timeout_s: float) -> None:
        """Wait until the other side hangs up."""
        await asyncio.wait_for(self.ended.wait(), patient(timeout_s))

    async def until(self, status: int, method: str = "INVITE", timeout_s: float = _TIMEOUT_S) -> Message:
        """Wait for the first response of that status, also one that has come already."""
        async with asyncio.timeout(patient(timeout_s)):
            while True:
                for message in self.seen:
                    if message.status == status and message.method == method:
                        return message
                self._news.clear()
                await self._news.wait()

    def answer_reinvite(self, invite: Message, source: Address) -> None:
        """Respond 200 with our description; audio then goes where theirs says. Copies get the same."""
        if self.reinvite_status is None:
            return
        if self.reinvite_status != 200:
            self.send(response(invite, f"{self.reinvite_status} No"), source)
            return
        media = media_of(invite.body)
        if media != self.media:
            self.moves.append(media)
            self.media = media
        contact = f"Contact: <sip:alice@127.0.0.1:{self.phone.port}>"
        self.send(
            response(invite, "200 OK", contact, "Content-Type: application/sdp", body=self.offer()), source
        )

    def heard(self, message: Message) -> None:
        """Take a message of this call; respond 200 to a request at once."""
        self.seen.append(message)
        self._news.set()
        if not message.status and message.method == "BYE":
            self.ended.set()
        if message.status == 200 and message.method == "INVITE" and self._is_repeat(message):
            self.ack()

    def _is_repeat(self, message: Message) -> bool:
        return self.answer is not None and message["cseq"] == self.answer["cseq"] and self.acks_repeats

    acks_repeats: bool = True

    async def transact(self, data: bytes, method: str, timeout_s: float) -> Message:
        """Send `data`, again after T1, 2*T1 and so on, until a final response to it comes."""
        cseq = f"{self.cseq} {method}"
        self.send(data)
        deadline = time.monotonic() + patient(timeout_s)
        pause = T1_S
        resend_at = time.monotonic() + pause
        while True:
            for message in self.seen:
                if message.status >= 200 and message.headers.get("cseq") == [cseq]:
                    return message
            is_provisional = any(m.status >= 100 and m.headers.get("cseq") == [cseq] for m in self.seen)
            now = time.monotonic()
            if now >= deadline:
                got = [m.status for m in self.seen if m.headers.get("cseq") == [cseq]]
                raise AssertionError(f"no final answer to {cseq} in {timeout_s:g} s, only {got}")
            if now >= resend_at:
                if not (is_provisional and method == "INVITE"):
                    self.send(data)
                pause *= 2
                resend_at = now + pause
            self._news.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.001, min(resend_at, deadline) - now)):
                    await self._news.wait()


def may_be_late(status: int, deadline: float) -> bool:
    """Whether a 503 before the deadline may come of relays whose audio a busy machine makes late."""
    return status == 503 and patient(1.0) > 1.0 and time.monotonic() < deadline


class Phone(asyncio.DatagramProtocol):
    """A UDP socket that speaks SIP; hands what comes to its call by Call-ID and says 200 to requests."""

    def __init__(self) -> None:
        self.calls: dict[str, PhoneCall] = {}
        self.strays: list[Message] = []
        self.is_deaf_to: set[str] = set()
        """Methods that get no response."""
        self._transport: asyncio.DatagramTransport | None = None

    @classmethod
    async def open(cls) -> "Phone":
        loop = asyncio.get_running_loop()
        _, phone = await loop.create_datagram_endpoint(cls, local_addr=("127.0.0.1", 0))
        return phone

    @property
    def port(self) -> int:
        assert self._transport is not None
        return self._transport.get_extra_info("sockname")[1]

    async def new_call(self, user: str, destination: Address, **options: object) -> PhoneCall:
        """Make a call to `user` that is not begun yet."""
        call = PhoneCall(self, user, destination, await RtpPort.open(), **options)  # type: ignore[arg-type]
        self.calls[call.call_id] = call
        return call

    async def call(self, user: str, destination: Address, **options: object) -> PhoneCall:
        """Place a call and return it once it got a 200.

        On a busy machine a relay whose audio is late takes no call, so a 503 is tried again, as it asks.
        """
        deadline = time.monotonic() + patient(_TIMEOUT_S)
        while True:
            call = await self.new_call(user, destination, **options)
            answer = await call.invite()
            if answer.status == 200:
                return call
            assert may_be_late(answer.status, deadline), f"{user} at {destination}: {answer.start}"
            call.rtp.close()
            del self.calls[call.call_id]
            await asyncio.sleep(1)

    async def options(self, destination: Address, timeout_s: float = 5.0) -> Message:
        """Send OPTIONS, as a peer does to see whether the gateway is alive."""
        call = PhoneCall(self, "ping", destination, await RtpPort.open())
        self.calls[call.call_id] = call
        try:
            return await call.transact(call.request("OPTIONS"), "OPTIONS", timeout_s)
        finally:
            call.rtp.close()
            del self.calls[call.call_id]

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Address) -> None:
        message = Message.parse(data)
        call = self.calls.get(message.headers.get("call-id", [""])[0])
        if call is not None and message.method == "INVITE" and not message.status:
            call.answer_reinvite(message, addr)
        elif not message.status and message.method not in {"ACK", *self.is_deaf_to}:
            self.send(response(message, "200 OK"), addr)
        if call is None:
            self.strays.append(message)
        else:
            call.heard(message)

    def send(self, data: bytes, to: Address) -> None:
        assert self._transport is not None
        self._transport.sendto(data, to)

    async def aclose(self) -> None:
        """Hang up the calls that are still up, and close."""
        standing = [call for call in self.calls.values() if call.remote_target and not call.ended.is_set()]
        await asyncio.gather(*(call.bye(timeout_s=2) for call in standing), return_exceptions=True)
        for call in self.calls.values():
            call.rtp.close()
        if self._transport is not None:
            self._transport.close()


def media_of(sdp: bytes) -> Address:
    """Return the address and port that the answer names for audio."""
    text = sdp.decode()
    host = re.search(r"^c=IN IP4 (\S+)", text, re.MULTILINE)
    port = re.search(r"^m=audio (\d+)", text, re.MULTILINE)
    assert host is not None, text
    assert port is not None, text
    return host.group(1), int(port.group(1))


def response(request: Message, status: str, *extra: str, body: str = "") -> bytes:
    """Make a response to a request of the gateway."""
    copied = ["via", "from", "to", "call-id", "cseq"]
    lines = [f"{name}: {value}" for name in copied for value in request.headers.get(name, [])]
    head = [f"SIP/2.0 {status}", *lines, *extra, f"Content-Length: {len(body)}", "", body]
    return "\r\n".join(head).encode()
