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
        self._is_ready: dict[str, asyncio.Event] = {}
        self._link = RelayLink(relay, new_identity("bench"), self._on_event, deadline_s=_READY_S)

    async def set_up(self, caller_ports: list[int]) -> list[int]:
        """Set up a call for each port; return the relay's RTP ports, 0 where it refused the call."""
        await asyncio.wait_for(self._link.wait_connected(), _READY_S)
        begun = time.monotonic()
        calls: list[asyncio.Task[int]] = []
        async with asyncio.TaskGroup() as group:
            for number, port in enumerate(caller_ports):
                calls.append(group.create_task(self._begin(port)))
                await asyncio.sleep(max(0.0, begun + number / _A_SECOND - time.monotonic()))
        return [each.result() for each in calls]

    async def packets_received(self) -> int:
        """Return how many packets the relay has counted, of all calls."""
        return sum(state.packets_received for state in await self._link.list_sessions())

    async def aclose(self) -> None:
        """Disconnect; the relay's process ends by itself."""
        await self._link.aclose()

    async def _begin(self, port: int) -> int:
        call_id = f"call-{port}"
        ready = self._is_ready[call_id] = asyncio.Event()
        spec = self._series.allocation(port, self._bot, self._recordings)
        try:
            allocated = await self._link.allocate(call_id, generation=1, owner_epoch=1, spec=spec)
            await asyncio.wait_for(ready.wait(), _READY_S)
            await self._link.start(call_id, generation=1, owner_epoch=1)
        except RelayRefused as refused:
            self.refusals[refused.message] += 1
        except RelayUnreachable as unreachable:
            self.refusals[str(unreachable)] += 1
        except TimeoutError:
            self.refusals[f"the bot was not ready within {_READY_S:.0f} s"] += 1
        else:
            return allocated.rtp_port
        return 0

    def _on_event(self, event: pb.MediaEvent) -> None:
        kind = event.WhichOneof("event")
        if kind == "bot_failed":
            raise SystemExit(f"the bot failed: {event.bot_failed.reason}")
        if kind == "bot_ready":
            self._is_ready[event.call_id].set()
