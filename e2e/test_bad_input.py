"""After 10,000 mutated SIP messages and RTP packets the gateway lives, responds, and has not grown."""

import asyncio
import random
import socket

import pytest
from gatewaykit.gateway import Gateway
from gatewaykit.mutations import mutate, sip_seeds
from gatewaykit.phone import Phone
from gatewaykit.rtp import Packet, noise

pytestmark = pytest.mark.system

MESSAGES = 10_000
WARM_UP = 3_000
GROWTH_MIB = 12.0


async def test_mutated_sip_messages(gateway: Gateway, phone: Phone) -> None:
    dice = random.Random(20)
    bystander = await phone.call("builtin", gateway.sip())
    seeds = sip_seeds(phone.port, gateway.sip())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.bind(("127.0.0.1", 0))
        sender.setblocking(False)
        warm = 0.0
        for number in range(MESSAGES):
            sender.sendto(mutate(dice.choice(seeds), dice), gateway.sip())
            if number % 100 == 99:
                assert (await phone.options(gateway.sip())).status == 200, f"after {number + 1} messages"
            if number == WARM_UP:
                warm = gateway.edges[0].rss_mib
    grown = gateway.edges[0].rss_mib - warm
    audio = noise(1, seed=21)
    await bystander.rtp.stream(audio, bystander.media)
    assert await bystander.rtp.hears(audio, 0.6), "the call beside does not hear itself"
    assert (await bystander.bye()).status == 200
    await phone.call("builtin", gateway.sip())
    assert grown < GROWTH_MIB, f"the edge grew by {grown:.1f} MiB over the last {MESSAGES - WARM_UP} messages"
    assert all(service.is_running for service in gateway.services)


async def test_mutated_rtp_packets(gateway: Gateway, phone: Phone) -> None:
    dice = random.Random(22)
    call = await phone.call("builtin", gateway.sip())
    port = call.rtp
    await port.stream(noise(0.4, seed=23), call.media)
    assert port.transport is not None
    rtcp = (call.media[0], call.media[1] + 1)
    warm = 0.0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.bind(("127.0.0.1", 0))
        for number in range(MESSAGES):
            packet = Packet(
                dice.choice([0, 8, 101, 127]), False, port.sequence + number, port.timestamp, port.ssrc, b""
            )
            good = packet.to_bytes() + dice.randbytes(dice.choice([0, 4, 160, 1000]))
            bad = mutate(good, dice)
            target = rtcp if number % 10 == 0 else call.media
            if number % 3:
                port.transport.sendto(bad, target)
            else:
                stranger.sendto(bad, target)
            if number % 50 == 49:
                await asyncio.sleep(0.005)
            if number == WARM_UP:
                warm = sum(relay.rss_mib for relay in gateway.relays)
    grown = sum(relay.rss_mib for relay in gateway.relays) - warm
    port.received.clear()
    other = await phone.call("builtin", gateway.sip())
    audio = noise(1, seed=24)
    await other.rtp.stream(audio, other.media)
    assert await other.rtp.hears(audio, 0.6), "a new call does not hear itself"
    assert (await call.bye()).status == 200
    assert grown < GROWTH_MIB, (
        f"the relays grew by {grown:.1f} MiB over the last {MESSAGES - WARM_UP} packets"
    )
    assert all(service.is_running for service in gateway.services)
