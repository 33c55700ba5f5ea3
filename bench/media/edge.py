"""The edge of a measurement: it sets the calls up (relay/v1), at the pace of a busy gateway."""

import asyncio
import collections
import time

from media.series import Series
from sipgw.api.relay.v1 import control_pb2 as pb
from sipgw.control import RelayLink, RelayRefused, RelayUnreachable
from sipgw.runtime.settings import new_identity

_A_SECOND = 250
"""Calls set up in a second, so that the set-up alone does not fill the relay's core."""
_READY_S = 20.0


class Edge:
    """Sets up the calls of a series. Failed calls are counted by the relay's message, and not tried again."""

    def __init__(self, relay: str, series: Series, bot: str, recordings: str) -> None:
        self.refusals: collections.Counter[str] = collections.Counter()
        self._series, self._bot, self._recordings = series, bot, recordings
        self._is_ready: dict[str, asyncio.Future[str]] = {}
        """Empty if the call's bot is ready, else the reason of its failure, by call id."""
        self._link = RelayLink(relay, new_identity("bench"), self._on_event, deadline_s=_READY_S)

    async def set_up(self, caller_ports: list[int]) -> list[int]:
        """Set up a call for each port; return the relay's RTP ports, 0 where it refused the call.

        Calls begin to send when all are set up, so that their load does not stand in the way of the others.
        """
        await asyncio.wait_for(self._link.wait_connected(), _READY_S)
        begun = time.monotonic()
        calls: list[asyncio.Task[int]] = []
        async with asyncio.TaskGroup() as group:
            for number, port in enumerate(caller_ports):
                calls.append(group.create_task(self._allocate(port)))
                await asyncio.sleep(max(0.0, begun + number / _A_SECOND - time.monotonic()))
        relay_ports = [each.result() for each in calls]
        async with asyncio.TaskGroup() as group:
            for port, relay_port in zip(caller_ports, relay_ports, strict=True):
                if relay_port:
                    group.create_task(self._link.start(f"call-{port}", generation=1, owner_epoch=1))
        return relay_ports

    async def packets_received(self) -> int:
        """Return how many packets the relay has counted, of all calls."""
        return sum(state.packets_received for state in await self._link.list_sessions())

    async def aclose(self) -> None:
        """Disconnect; the relay's process ends by itself."""
        await self._link.aclose()

    async def _allocate(self, port: int) -> int:
        call_id = f"call-{port}"
        ready = self._is_ready[call_id] = asyncio.get_running_loop().create_future()
        spec = self._series.allocation(port, self._bot, self._recordings)
        try:
            allocated = await self._link.allocate(call_id, generation=1, owner_epoch=1, spec=spec)
            failed = await asyncio.wait_for(ready, _READY_S)
        except RelayRefused as refused:
            failed = refused.message
        except RelayUnreachable as unreachable:
            failed = str(unreachable)
        except TimeoutError:
            failed = f"the bot was not ready within {_READY_S:.0f} s"
        else:
            if not failed:
                return allocated.rtp_port
        self.refusals[failed] += 1
        return 0

    def _on_event(self, event: pb.MediaEvent) -> None:
        kind = event.WhichOneof("event")
        ready = self._is_ready.get(event.call_id)
        if ready is not None and not ready.done() and kind in ("bot_ready", "bot_failed"):
            ready.set_result(event.bot_failed.reason)
