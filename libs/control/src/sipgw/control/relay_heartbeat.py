"""A relay's heartbeat to the registry: it registers the relay, renews its lease and receives drains."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from sipgw.api.registry.v1 import registry_pb2 as pb
from sipgw.api.registry.v1.registry_pb2_grpc import RelayRegistrationServiceStub
from sipgw.control.reconnect import StreamStalled, keep_connected
from sipgw.control.replicas import Replicas
from sipgw.runtime.telemetry.logs import get_logger
from sipgw.runtime.tls import TlsDirectory

if TYPE_CHECKING:
    import grpc.aio

_LONGEST_INTERVAL_S = 1.0
_BEATS_A_LEASE = 3
_ANSWER_TIMEOUT_S = 1.0
"""The lease lasts three intervals: another registry must get the next heartbeat within it."""
_log = get_logger("sipgw.control")


@dataclass(frozen=True, slots=True)
class Beat:
    """The state of the relay at this moment; `call_ids` replace the registry's reservations for it."""

    call_ids: Iterable[str]
    used_units: int
    draining: bool
    ports_free: int
    full: bool = False
    late: bool = False


class RelayHeartbeat:
    """The heartbeat; `run` it as a task.

    The relay registers again when the registry restarts or loses its data.
    """

    def __init__(
        self,
        target: str,
        registration: pb.RelayRegistration,
        snapshot: Callable[[], Beat],
        on_drain: Callable[[bool], None],
        *,
        tls: TlsDirectory | None = None,
    ) -> None:
        self.is_registered = False
        self.was_registered = False
        """Whether it was registered at any time since the start."""
        self._target = target
        self._registration = registration
        self._snapshot = snapshot
        self._on_drain = on_drain
        self._replicas = Replicas(target, tls=tls)
        self._is_draining = False
        self._interval_s = _LONGEST_INTERVAL_S
        self._beat_now = asyncio.Event()
        self._must_register = True

    async def run(self) -> NoReturn:
        """Send heartbeats for ever."""
        await keep_connected(f"heartbeat {self._target}", self._connect, self._went_down)

    def register_again(self, registration: pb.RelayRegistration) -> None:
        """Register again, since the data of the registration has changed."""
        self._registration = registration
        self._must_register = True
        self.beat_now()

    def beat_now(self) -> None:
        """Send a heartbeat now, after a change that placement should know."""
        self._beat_now.set()

    async def _connect(self, established: Callable[[], None]) -> None:
        async with self._replicas.connection() as channel:
            await self._session(RelayRegistrationServiceStub(channel).Heartbeat, established)

    async def _session(
        self,
        heartbeat: "Callable[[], grpc.aio.StreamStreamCall[pb.HeartbeatRequest, pb.HeartbeatResponse]]",
        established: Callable[[], None],
    ) -> None:
        call = heartbeat()
        self._must_register = True
        try:
            while True:
                response = await self._beat(call)
                self._must_register = self._must_register or response.not_registered
                if not response.not_registered:
                    established()
                self._take(response)
                if not self._must_register:
                    await self._pause()
        finally:
            call.cancel()

    async def _beat(
        self,
        call: "grpc.aio.StreamStreamCall[pb.HeartbeatRequest, pb.HeartbeatResponse]",
    ) -> pb.HeartbeatResponse:
        beat = self._snapshot()
        request = pb.HeartbeatRequest(
            registration=self._registration if self._must_register else None,
            call_ids=beat.call_ids,
            used_units=beat.used_units,
            draining=beat.draining,
            ports_free=beat.ports_free,
            full=beat.full,
            late=beat.late,
        )
        self._must_register = False
        try:
            async with asyncio.timeout(_ANSWER_TIMEOUT_S):
                await call.write(request)
                response = await call.read()
        except TimeoutError:
            raise StreamStalled("the registry did not answer a heartbeat") from None
        if not isinstance(response, pb.HeartbeatResponse):
            raise StreamStalled("ended by the registry")
        return response

    def _take(self, response: pb.HeartbeatResponse) -> None:
        self.is_registered = not response.not_registered
        self.was_registered = self.was_registered or self.is_registered
        if response.lease_ms:
            self._interval_s = min(_LONGEST_INTERVAL_S, response.lease_ms / 1000 / _BEATS_A_LEASE)
        if response.drain != self._is_draining:
            self._is_draining = response.drain
            _log.info("drain_changed", drain=response.drain)
            self._on_drain(response.drain)

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(self._interval_s):
                await self._beat_now.wait()
        except TimeoutError:
            pass
        self._beat_now.clear()

    def _went_down(self, _was_registered: bool) -> None:  # noqa: FBT001 - keep_connected's callback
        self.is_registered = False
