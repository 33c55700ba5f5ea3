"""Sessions that calls have left behind: let go at once, or when their relay is heard again.

A relay that was frozen or cut off comes back with them; it may take it from here that another has the call.
"""

import asyncio
from dataclasses import dataclass
from typing import Final

from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.calls import identity_of
from sipgw.control import ControlError, RelayRefused
from sipgw.runtime.settings import Identity
from sipgw.runtime.tasks import TaskGroupOwner
from sipgw.sip_edge.media_commands import MediaCommands

KEPT_S: Final = 120.0
_MOST_KEPT: Final = 20_000


@dataclass(frozen=True, slots=True)
class _Ghost:
    session: calls.CallSession
    anchor: calls.MediaAnchor
    until_s: float


class Ghosts:
    """`let_go` tries now and remembers what was not answered; `heard` tries again."""

    def __init__(self, media: MediaCommands, tasks: TaskGroupOwner) -> None:
        self._media = media
        self._tasks = tasks
        self._loop = asyncio.get_running_loop()
        self._ghosts: dict[tuple[Identity, str], _Ghost] = {}

    @property
    def relays(self) -> set[Identity]:
        """Where such sessions are: streams to these are kept."""
        now_s = self._loop.time()
        self._ghosts = {key: ghost for key, ghost in self._ghosts.items() if ghost.until_s > now_s}
        return {who for who, _ in self._ghosts}

    def let_go(self, session: calls.CallSession, anchor: calls.MediaAnchor) -> None:
        """`anchor` has the call of `session` no longer."""
        if not anchor.relay.incarnation:
            return
        kept = calls.MediaAnchor()
        kept.CopyFrom(anchor)
        if len(self._ghosts) < _MOST_KEPT:
            key = (identity_of(kept.relay), session.call_id)
            self._ghosts[key] = _Ghost(session, kept, self._loop.time() + KEPT_S)
        self._tasks.spawn(self._release(session, kept), "let go")

    def heard(self, who: Identity) -> None:
        """The stream to a relay stands (again)."""
        for (relay_of_ghost, _), ghost in list(self._ghosts.items()):
            if relay_of_ghost == who:
                self._tasks.spawn(self._release(ghost.session, ghost.anchor), "let go")

    async def _release(self, session: calls.CallSession, anchor: calls.MediaAnchor) -> None:
        try:
            await self._media.release(session, "moved", at=anchor, moved=True)
        except RelayRefused:
            pass  # it has met something newer
        except ControlError:
            return  # silent: again when it is heard
        self._ghosts.pop((identity_of(anchor.relay), session.call_id), None)
