import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from sipgw.runtime.patience import patient
from sipgw.siptest.lossy_link import Direction, Faults, LossyLink, drop_first


class Peer(asyncio.DatagramProtocol):
    """A peer that collects datagrams, and echoes them when told to."""

    def __init__(self, *, echo: bool = False) -> None:
        self.echo = echo
        self.got: list[bytes] = []
        self.sources: set[tuple[str, int]] = set()
        self.arrived = asyncio.Event()
        self.transport: asyncio.DatagramTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.got.append(data)
        self.sources.add(addr)
        self.arrived.set()
        if self.echo:
            self.transport.sendto(data, addr)

    async def wait_for(self, count: int) -> None:
        async with asyncio.timeout(patient(5)):
            while len(self.got) < count:
                self.arrived.clear()
                await self.arrived.wait()

    @property
    def address(self) -> tuple[str, int]:
        return self.transport.get_extra_info("sockname")


class Net:
    """Peers and links of one test, closed at its end."""

    def __init__(self) -> None:
        self.peers: list[Peer] = []
        self.links: list[LossyLink] = []

    async def peer(self, *, echo: bool = False) -> Peer:
        loop = asyncio.get_running_loop()
        _, protocol = await loop.create_datagram_endpoint(
            lambda: Peer(echo=echo), local_addr=("127.0.0.1", 0)
        )
        self.peers.append(protocol)
        return protocol

    async def link(self, target: tuple[str, int], **options: Any) -> LossyLink:
        self.links.append(await LossyLink.open(target, **options))
        return self.links[-1]


@pytest.fixture
async def net() -> AsyncIterator[Net]:
    net = Net()
    yield net
    for peer in net.peers:
        peer.transport.close()
    for link in net.links:
        await link.aclose()


async def test_without_faults_everything_arrives_both_ways_and_peers_stay_apart(net: Net) -> None:
    target, one, two = await net.peer(echo=True), await net.peer(), await net.peer()
    link = await net.link(target.address)
    for i in range(20):
        one.transport.sendto(b"a%d" % i, link.address)
        two.transport.sendto(b"b%d" % i, link.address)
    await one.wait_for(20)
    await two.wait_for(20)
    assert one.got == [b"a%d" % i for i in range(20)]
    assert len(target.sources) == 2


async def test_a_rule_drops_only_what_it_names(net: Net) -> None:
    target, client = await net.peer(), await net.peer()
    link = await net.link(target.address, drop=drop_first(lambda d: d.startswith(b"ACK"), times=2))
    for data in (b"ACK 1", b"INVITE", b"ACK 2", b"ACK 3"):
        client.transport.sendto(data, link.address)
    await target.wait_for(2)
    assert target.got == [b"INVITE", b"ACK 3"]
    assert link.dropped == 2


async def test_a_rule_can_be_for_one_direction(net: Net) -> None:
    target, client = await net.peer(echo=True), await net.peer()
    link = await net.link(target.address, drop=drop_first(lambda _: True, direction=Direction.TO_CLIENT))
    client.transport.sendto(b"1", link.address)
    await target.wait_for(1)
    client.transport.sendto(b"2", link.address)
    await client.wait_for(1)
    assert client.got == [b"2"]


@pytest.mark.parametrize("seed", [1, 2])
async def test_loss_and_duplicates_come_at_about_the_rate_asked_and_by_the_seed(net: Net, seed: int) -> None:
    counts: list[tuple[int, int]] = []
    for _ in range(2):
        target, client = await net.peer(), await net.peer()
        all_seen = asyncio.Event()

        def see(data: bytes, _direction: Direction, all_seen: asyncio.Event = all_seen) -> bool:
            if data == b"last":
                all_seen.set()
            return False

        link = await net.link(target.address, seed=seed, drop=see)
        client.transport.sendto(b"first", link.address)
        await target.wait_for(1)
        link.faults = Faults(loss=0.3, duplicate=0.2)
        for data in [b"%d" % i for i in range(200)] + [b"last"]:
            client.transport.sendto(data, link.address)
        await asyncio.wait_for(all_seen.wait(), patient(5))
        counts.append((link.dropped, link.forwarded))
    assert counts[0] == counts[1]
    assert 40 <= counts[0][0] <= 80
