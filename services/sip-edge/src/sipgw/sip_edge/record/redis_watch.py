"""Watch whether Redis is reachable: open the journal, replay it, and publish again what Redis lost."""

import asyncio

from sipgw.runtime.telemetry.logs import get_logger
from sipgw.sip_edge.record.journal import Journal
from sipgw.sip_edge.record.records import CallRecords
from sipgw.store import Store, StoreUnavailable

_log = get_logger("sipgw.sip_edge.redis")
_PROBE_S = 0.25


class RedisWatch:
    """Watches Redis as long as the edge runs."""

    def __init__(self, store: Store, records: CallRecords, journal: Journal) -> None:
        self._store = store
        self._records = records
        self._journal = journal
        self._lost_data = False

    async def run(self) -> None:
        """Watch reachability and epoch, for ever."""
        unsubscribe = self._store.on_epoch_change(self._epoch_changed)
        try:
            while True:
                await asyncio.sleep(_PROBE_S)
                if not self._store.is_reachable:
                    self._journal.open("no reply to a probe")
                await self._mend()
        finally:
            unsubscribe()

    def _epoch_changed(self, epoch: str) -> None:
        self._lost_data = True

    async def _mend(self) -> None:
        if not (self._journal.is_open or self._lost_data):
            return
        try:
            await self._store.redis_time_ms()
            if self._lost_data:
                self._lost_data = False
                await self._records.restore_all()
            if self._journal.is_open:
                await self._records.replay()
                _log.info("redis_back")
        except StoreUnavailable:
            self._lost_data = self._lost_data or self._journal.is_open
