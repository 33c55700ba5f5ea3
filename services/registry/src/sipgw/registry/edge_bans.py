"""EdgeBans: the sources that edges ban. Each edge decides by itself, so all are asked."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import grpc
import grpc.aio

from sipgw.api.edge.v1 import edge_pb2 as edge
from sipgw.api.edge.v1.edge_pb2_grpc import EdgeServiceStub
from sipgw.api.registry.v1 import registry_pb2 as pb
from sipgw.registry.edge_channels import EdgeChannels

_TIMEOUT_S: Final = 1.5
T = TypeVar("T")


class NoSource(Exception):
    """The text to unban is no source address."""


class EdgeBans:
    """Asks all edges in parallel. Methods raise StoreUnavailable."""

    def __init__(self, edges: EdgeChannels) -> None:
        self._edges = edges

    async def list_all(self) -> pb.ListBansResponse:
        """Return the bans of all edges, and the edges that did not answer."""
        answers = await self._ask(
            lambda channel: EdgeServiceStub(channel).ListBans(edge.ListBansRequest(), timeout=_TIMEOUT_S)
        )
        found = pb.ListBansResponse(silent_edges=[name for name, answer in answers if answer is None])
        for name, answer in answers:
            for ban in answer.bans if answer is not None else ():
                found.bans.add(
                    source=ban.source,
                    reason=ban.reason,
                    since_ms=ban.since_ms,
                    until_ms=ban.until_ms,
                    refused=ban.refused,
                    edge=name,
                )
        return found

    async def lift(self, source: str) -> pb.LiftBanResponse:
        """Lift a source's bans at all edges. Raises NoSource."""
        request = edge.LiftBanRequest(source=source)
        answers = await self._ask(
            lambda channel: EdgeServiceStub(channel).LiftBan(request, timeout=_TIMEOUT_S)
        )
        return pb.LiftBanResponse(
            edges=[name for name, answer in answers if answer is not None and answer.found],
            silent_edges=[name for name, answer in answers if answer is None],
        )

    async def _ask(self, call: Callable[[grpc.aio.Channel], Awaitable[T]]) -> list[tuple[str, T | None]]:
        leases = sorted(await self._edges.live(), key=lambda lease: lease.identity.name)
        asked = [_answer_of(call(await self._edges.of(lease))) for lease in leases]
        answers = await asyncio.gather(*asked)
        return [(lease.identity.name, answer) for lease, answer in zip(leases, answers, strict=True)]


async def _answer_of(asked: Awaitable[T]) -> T | None:
    """Return an edge's answer; None when it does not answer."""
    try:
        return await asked
    except grpc.aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.INVALID_ARGUMENT:
            raise NoSource(error.details() or "") from None
        return None
