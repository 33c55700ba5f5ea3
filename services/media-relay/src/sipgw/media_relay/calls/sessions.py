"""Sessions: the table of the calls on this relay, by call id, by row of the columns, and by handle.

A row is reused under another handle, so that what arrives late for an earlier call finds no session.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from sipgw.media_relay.calls.session import Fence, Session
from sipgw.media_relay.pipeline.stage import handle_of, row_of
from sipgw.media_relay.streams.bot_call import HandlesU32

_REMEMBERED: Final = 10_000
"""How many released calls have their fence remembered."""
_NEVER_SEEN: Final = (0, 0)


class Handles:
    """Rows and their generations: `handle = generation << 16 | row` names one use of a row."""

    def __init__(self, rows: int) -> None:
        self._generation = np.zeros(rows, np.uint32)
        self._free = list(range(rows - 1, -1, -1))
        """The last one, which is the lowest, is taken first."""

    @property
    def has_free(self) -> bool:
        """Whether a row is free."""
        return bool(self._free)

    @property
    def used(self) -> int:
        """How many rows are taken."""
        return len(self._generation) - len(self._free)

    def take(self) -> int:
        """Return a handle on a free row. Raises IndexError when no row is free."""
        return self.renew(self._free.pop())

    def renew(self, row: int) -> int:
        """Return the row's next handle; the earlier one becomes invalid."""
        self._generation[row] = (self._generation[row] + 1) & 0xFFFF
        return handle_of(row, int(self._generation[row]))

    def give_back(self, row: int) -> None:
        """Let another call have the row."""
        self._free.append(row)

    def of_rows(self, rows: npt.NDArray[np.intp]) -> HandlesU32:
        """Return the present handles of these rows."""
        return (self._generation[rows] << np.uint32(16)) | rows.astype(np.uint32)

    def are_current(self, handles: HandlesU32) -> npt.NDArray[np.bool_]:
        """Return which of the handles are the present ones of their rows."""
        return self._generation[handles & np.uint32(0xFFFF)] == handles >> np.uint32(16)


class Sessions:
    """The session table. Single-threaded, on the loop. `now_s` reads the loop's clock."""

    def __init__(self, rows: int, now_s: Callable[[], float]) -> None:
        self.handles = Handles(rows)
        self._now_s = now_s
        self._by_call: dict[str, Session] = {}
        self._by_row: list[Session | None] = [None] * rows
        self._released: OrderedDict[str, Fence] = OrderedDict()
        self._is_empty = asyncio.Event()
        self._is_empty.set()

    def __len__(self) -> int:
        return len(self._by_call)

    def __iter__(self) -> Iterator[Session]:
        """Iterate over a copy, since calls may end meanwhile."""
        return iter(list(self._by_call.values()))

    @property
    def now_s(self) -> float:
        """The time of the loop's clock."""
        return self._now_s()

    @property
    def call_ids(self) -> list[str]:
        """The ids of all calls."""
        return list(self._by_call)

    @property
    def used_units(self) -> int:
        """The cost units of all calls."""
        return sum(session.cost for session in self._by_call.values())

    def add(self, session: Session) -> None:
        """Let a call be found by its id, its row and its handle."""
        self._by_call[session.call_id] = self._by_row[session.row] = session
        self._is_empty.clear()

    def remove(self, session: Session) -> None:
        """Forget a call that has ended, except its fence."""
        del self._by_call[session.call_id]
        self._by_row[session.row] = None
        self.handles.give_back(session.row)
        self.note_released(session.call_id, session.fence)
        if not self._by_call:
            self._is_empty.set()

    def find(self, call_id: str) -> Session | None:
        """Return the session of a call."""
        return self._by_call.get(call_id)

    def at_row(self, row: int) -> Session | None:
        """Return the call that has the row now."""
        return self._by_row[row]

    def session_of(self, handle: int) -> Session | None:
        """Return the call of this handle; None when its row is free, or used again since."""
        row = row_of(handle)
        session = self._by_row[row] if row < len(self._by_row) else None
        return session if session is not None and session.handle == handle else None

    def call_ids_of(self, edge: str) -> list[str]:
        """Return the ids of the calls that the edge owns."""
        return [call_id for call_id, session in self._by_call.items() if session.edge == edge]

    def seen_fence(self, call_id: str) -> Fence:
        """Return the highest fence seen of a call, also of one released lately; (0, 0) for none."""
        session = self._by_call.get(call_id)
        return session.fence if session is not None else self._released.get(call_id, _NEVER_SEEN)

    def note_released(self, call_id: str, fence: Fence) -> None:
        """Remember the fence that a call was released at."""
        self._released[call_id] = fence
        if len(self._released) > _REMEMBERED:
            self._released.popitem(last=False)

    def was_released_at(self, call_id: str, fence: Fence) -> bool:
        """Return whether the call was released at exactly this fence."""
        return self._released.get(call_id) == fence

    async def wait_until_empty(self) -> None:
        """Return when the relay has no call."""
        await self._is_empty.wait()
