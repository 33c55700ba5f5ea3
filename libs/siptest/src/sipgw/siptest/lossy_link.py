"""A UDP path with faults, in user space: it loses, delays, repeats and re-orders datagrams.

Each client address gets its own upstream socket, so the target sees separate peers and answers find their way
back. The faults are drawn from a seed. For SIP or RTP alike; nothing is parsed.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from random import Random
from typing import cast

HostPort = tuple[str, int]


class Direction(Enum):
    """The direction of a datagram."""

    TO_TARGET = "to target"
    TO_CLIENT = "to client"


@dataclass(frozen=True, slots=True)
class Faults:
    """Probabilities are per datagram; a delay is drawn evenly between its bounds, which also re-orders."""

    loss: float = 0.0
    duplicate: float = 0.0
    delay_ms: tuple[float, float] = (0.0, 0.0)


NO_FAULTS = Faults()
Drop = Callable[[bytes, Direction], bool]


class LossyLink:
    """A link, opened by `await LossyLink.open(target)`; send to `.address` instead of the target."""

    def __init__(self, target: HostPort, faults: Faults, seed: int, drop: Drop | None) -> None:
        self.target = target
        self.faults = faults
        self.drop = drop
        self.forwarded = 0
        self.dropped = 0
        self._random = Random(seed)
        self._front: asyncio.DatagramTransport | None = None
        self._upstream: dict[HostPort, asyncio.DatagramTransport] = {}
        self._opening: dict[HostPort, list[bytes]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @classmethod
    async def open(
        cls,
        target: HostPort,
        *,
        faults: Faults = NO_FAULTS,
        seed: int = 1,
        drop: Drop | None = None,
        local: HostPort = ("127.0.0.1", 0),
    ) -> "LossyLink":
        """Open the link.

        `drop(data, direction)` decides first: a test's own rule, such as "the first ACK".
        """
        link = cls(target, faults, seed, drop)
        loop = asyncio.get_running_loop()
        link._front, _ = await loop.create_datagram_endpoint(
            lambda: _Sink(link._from_client), local_addr=local
        )
        return link

    @property
    def address(self) -> HostPort:
        assert self._front is not None
        name = cast("tuple[str, int]", self._front.get_extra_info("sockname"))
        return name[0], name[1]

    async def aclose(self) -> None:
        """Close all sockets."""
        for task in self._tasks:
            task.cancel()
        for transport in self._upstream.values():
            transport.close()
        if self._front is not None:
            self._front.close()
        await asyncio.sleep(0)  # transports close in the next turn of the loop

    def _from_client(self, data: bytes, client: HostPort) -> None:
        if self._is_dropped(data, Direction.TO_TARGET):
            return
        if client in self._upstream:
            self._deliver(self._upstream[client], data, None)
        elif client in self._opening:
            self._opening[client].append(data)
        else:
            self._opening[client] = [data]
            task = asyncio.get_running_loop().create_task(
                self._open_upstream(client), name=f"lossy link {client}"
            )
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _open_upstream(self, client: HostPort) -> None:
        def back(data: bytes, _source: HostPort) -> None:
            if self._front is not None and not self._is_dropped(data, Direction.TO_CLIENT):
                self._deliver(self._front, data, client)

        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: _Sink(back), remote_addr=self.target)
        self._upstream[client] = transport
        for data in self._opening.pop(client):
            self._deliver(transport, data, None)

    def _is_dropped(self, data: bytes, direction: Direction) -> bool:
        lost = self.drop is not None and self.drop(data, direction)
        if lost or self._random.random() < self.faults.loss:
            self.dropped += 1
            return True
        return False

    def _deliver(self, transport: asyncio.DatagramTransport, data: bytes, to: HostPort | None) -> None:
        copies = 2 if self._random.random() < self.faults.duplicate else 1
        loop = asyncio.get_running_loop()
        for _ in range(copies):
            delay_s = self._random.uniform(*self.faults.delay_ms) / 1000.0
            self.forwarded += 1
            if delay_s <= 0.0:
                transport.sendto(data, to)
            else:
                loop.call_later(delay_s, _send_if_open, transport, data, to)


def _send_if_open(transport: asyncio.DatagramTransport, data: bytes, to: HostPort | None) -> None:
    if not transport.is_closing():
        transport.sendto(data, to)


def drop_first(
    matching: Callable[[bytes], bool], *, times: int = 1, direction: Direction | None = None
) -> Drop:
    """Return a rule that loses the first `times` matching datagrams.

    Match the ACK by `d.startswith(b"ACK ")`, for example.
    """
    left = times

    def rule(data: bytes, way: Direction) -> bool:
        nonlocal left
        if left > 0 and (direction is None or way is direction) and matching(data):
            left -= 1
            return True
        return False

    return rule


class _Sink(asyncio.DatagramProtocol):
    def __init__(self, on_datagram: Callable[[bytes, HostPort], None]) -> None:
        self._on_datagram = on_datagram

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._on_datagram(data, (addr[0], addr[1]))

    def error_received(self, exc: Exception) -> None:
        """Ignore that the target's port is closed: the datagram counts as lost."""
