"""Tell the bot of keys that the caller's signalling named (INFO)."""

from typing import Final

from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.api.relay.v1 import control_pb2 as relay
from sipgw.control import ControlError, RelayRefused
from sipgw.sip import PressedKey
from sipgw.sip_edge.call.live_calls import log_of
from sipgw.sip_edge.media.commands import MediaCommands
from sipgw.sip_edge.record.records import CallRecords
from sipgw.sip_edge.record.states import HAS_SESSION

_MOST_TRIES: Final = 5


class Keys:
    """Tells relays of keys."""

    def __init__(self, records: CallRecords, media: MediaCommands) -> None:
        self._records = records
        self._media = media

    async def press(self, record: calls.CallSession, keys: tuple[PressedKey, ...]) -> bool:
        """Tell the call's relay of keys, in order; False: it could not be told of all.

        A call without a session yet has no bot that could hear them.
        """
        for pressed in keys:
            if record.state not in HAS_SESSION:
                return True
            told = await self._press(record, pressed)
            if told is None:
                return False
            record = told
        return True

    async def _press(self, record: calls.CallSession, pressed: PressedKey) -> calls.CallSession | None:
        """Tell the relay of a key; again with the newest record if another command came first."""
        press = relay.PressKey(digit=pressed.key, duration_ms=pressed.duration_ms)
        for _ in range(_MOST_TRIES):
            try:
                await self._media.press_key(record, press)
                return record
            except ControlError as error:
                is_stale = isinstance(error, RelayRefused) and error.status == relay.COMMAND_STATUS_STALE
                later = await self._records.reload(record.call_id) if is_stale else None
                if later is None or later.version == record.version:
                    log_of(record).warning("key_not_told", error=str(error))
                    return None
                record = later
        return None
