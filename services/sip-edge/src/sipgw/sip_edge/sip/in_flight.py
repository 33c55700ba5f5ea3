"""Wait for the transactions that an edge finishes before it leaves its calls to the other edges.

An established call goes on from its record at any edge. A call that is being set up or ended, and a request
without its response, could go on elsewhere too, but from another address and a second later. So the edge that
has the transaction finishes it.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.runtime.tasks import TaskGroupOwner
from sipgw.sip_edge.record.records import CallRecords
from sipgw.sip_edge.sip.server import SipServer

_LOOK_S: Final = 0.02


class InFlight:
    """Transactions under way at this edge, the caller's and ours."""

    def __init__(self, records: CallRecords, sip: SipServer, requests: TaskGroupOwner) -> None:
        self._records = records
        self._sip = sip
        self._requests = requests

    async def finished(self, longest_s: float) -> bool:
        """Wait until no transaction is under way; False if one still was after `longest_s`."""
        return await _until_none(self._count, longest_s)

    async def all_responded(self, longest_s: float) -> bool:
        """Wait until every request received has its response; False if one had none after `longest_s`."""
        return await _until_none(lambda: len(self._requests), longest_s)

    def _count(self) -> int:
        unsettled = sum(one.state != calls.CALL_STATE_ESTABLISHED for one in self._records.owned)
        return unsettled + self._sip.pending_requests + len(self._requests)


async def _until_none(count: Callable[[], int], longest_s: float) -> bool:
    try:
        async with asyncio.timeout(longest_s):
            while count():  # noqa: ASYNC110 - none of the three counts sets an event
                await asyncio.sleep(_LOOK_S)
    except TimeoutError:
        return False
    return True
