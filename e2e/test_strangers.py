"""A stranger floods `sipgw up`: honest callers are served, and the stranger is banned."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from gatewaykit.callers import answered
from gatewaykit.up import Up

from sipgw.siptest import SipPhone

pytestmark = pytest.mark.system

STRANGER, NEIGHBOUR = "127.0.0.66", "127.0.0.67"
FLOOD_S, INVITES_PER_S, NOISE_PER_S = 4.0, 500, 2000
INVITE = (
    "INVITE sip:echo@{host}:{port} SIP/2.0\r\nVia: SIP/2.0/UDP {mine};branch=z9hG4bK{number};rport\r\n"
    "From: <sip:x@{mine}>;tag=1\r\nTo: <sip:echo@{host}>\r\nCall-ID: {number}@{mine}\r\nCSeq: 1 INVITE\r\n"
    "Contact: <sip:x@{mine}>\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
)


@pytest.fixture
async def up(tmp_path: Path) -> AsyncIterator[Up]:
    up = Up(tmp_path)
    yield up
    await up.aclose()


async def flood(target: tuple[str, int]) -> None:
    """Send INVITEs and bytes that are no SIP, by the clock, from one address."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.bind((STRANGER, 0))
        mine = f"{STRANGER}:{stranger.getsockname()[1]}"
        begun, invites, noise = loop.time(), 0, 0
        while (elapsed := loop.time() - begun) < FLOOD_S:
            for number in range(invites, int(elapsed * INVITES_PER_S)):
                text = INVITE.format(host=target[0], port=target[1], mine=mine, number=number)
                stranger.sendto(text.encode(), target)
            for _ in range(noise, int(elapsed * NOISE_PER_S)):
                stranger.sendto(b"\x00noise" * 20, target)
            invites, noise = int(elapsed * INVITES_PER_S), int(elapsed * NOISE_PER_S)
            await asyncio.sleep(0.01)


async def speak(host: str, target: tuple[str, int]) -> None:
    """Place a call, which has to be answered, and hang up."""
    async with await SipPhone.open(host) as phone:
        call = await answered(phone, f"sip:echo@{target[0]}:{target[1]}")
        await call.hangup()


async def test_honest_callers_are_served_beside_a_flood_and_the_flooder_is_shown_and_let_in_again(
    up: Up,
) -> None:
    await up.start()
    (target,) = up.sip
    flooding = asyncio.create_task(flood(target))
    ban = await up.line("edge-0: warning: source_banned")
    assert f"sipgw up --trust {STRANGER}" in ban
    for _ in range(5):
        await asyncio.gather(speak("127.0.0.1", target), speak(NEIGHBOUR, target))
    await flooding
    status, text = await up.command("bans", "--json")
    assert status == 0
    (shown,) = map(json.loads, text.splitlines())
    assert (shown["source"], shown["edge"]) == (STRANGER, "edge-0")
    assert int(shown["refused"]) > 1000
    assert "30 in 2 s" in shown["reason"]
    status, text = await up.command("bans", "--lift", STRANGER)
    assert (status, text) == (0, f"{STRANGER} may send again (edge-0)\n")
    await speak(STRANGER, target)
    assert await up.command("bans") == (0, "no bans\n")
    status, text = await up.command("bans", "--lift", STRANGER)
    assert (status, "no ban on" in text) == (1, True)


async def test_what_trust_names_may_send_as_much_as_it_likes(up: Up) -> None:
    await up.start("--trust", f"{STRANGER}/32")
    (target,) = up.sip
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as trusted:
        trusted.bind((STRANGER, 0))
        for _ in range(200):
            trusted.sendto(b"\x00noise", target)
    await speak(STRANGER, target)
    assert await up.command("bans") == (0, "no bans\n")
