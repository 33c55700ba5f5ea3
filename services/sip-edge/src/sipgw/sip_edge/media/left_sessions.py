"""Relay sessions whose call has moved away. Release them now, or when their relay reconnects.

A relay may serve a command late, after the edge stopped waiting for it, and then have a session of a call
that is at another relay by now. So every relay that a call leaves is told, whether it responded or not. A
relay that was frozen or cut off is told when it comes back.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from sipgw.api.calls.v1 import session_pb2 as calls
from sipgw.calls import identity_of
from sipgw.control import ControlError, RelayRefused
from sipgw.runtime.settings import Identity
from sipgw.runtime.tasks import TaskGroupOwner
from sipgw.sip_edge.media.commands import MediaCommands

KEPT_S: Final = 120.0
_MOST_KEPT: Final = 20_000


_AGAIN_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class _LeftSession:
    record: calls.CallSession
    anchor: calls.MediaAnchor
    until_s: float
    reason: str
    moved: bool = field(kw_only=True)


class LeftSessions:
    """Release sessions; remember those whose relay did not respond, and `retry` them."""

    def __init__(
        self, media: MediaCommands, tasks: TaskGroupOwner, is_silent: Callable[[Identity], bool]
    ) -> None:
        """`is_silent` tells whether a relay is silent: its sessions are released once it is heard again."""
        self._media = media
        self._tasks = tasks
        self._is_silent = is_silent
        self._loop = asyncio.get_running_loop()
        self._sessions: dict[tuple[Identity, str], _LeftSession] = {}

    @property
    def relays(self) -> set[Identity]:
        """The relays that still have such sessions; streams to them are kept open."""
        now_s = self._loop.time()
        self._sessions = {key: left for key, left in self._sessions.items() if left.until_s > now_s}
        return {identity for identity, _ in self._sessions}

    def release(
        self,
        record: calls.CallSession,
        anchor: calls.MediaAnchor,
        *,
        reason: str = "moved",
        moved: bool = True,
    ) -> None:
        """Release the session of a call at `anchor`.

        `moved`: another relay has the call; else the call is over.
        """
        if not anchor.relay.incarnation:
            return
        kept = calls.MediaAnchor()
        kept.CopyFrom(anchor)
        left = _LeftSession(record, kept, self._loop.time() + KEPT_S, reason, moved=moved)
        if len(self._sessions) < _MOST_KEPT:
            self._sessions[_key(left)] = left
        self._spawn(left)

    def retry(self, identity: Identity) -> None:
        """Release again the sessions left at a relay whose stream is connected again."""
        for (relay, _), left in list(self._sessions.items()):
            if relay == identity:
                self._spawn(left)

    def _spawn(self, left: _LeftSession) -> None:
        self._tasks.spawn(self._send_release(left), "let go", call_id=left.record.call_id)

    async def _send_release(self, left: _LeftSession) -> None:
        try:
            await self._media.release(left.record, left.reason, at=left.anchor, moved=left.moved)
        except RelayRefused:
            pass  # the relay knows a newer generation of the call
        except ControlError:
            if not self._is_silent(identity_of(left.anchor.relay)):
                self._loop.call_later(_AGAIN_S, self._try_again, left)
            return
        if self._sessions.get(_key(left)) is left:
            del self._sessions[_key(left)]

    def _try_again(self, left: _LeftSession) -> None:
        is_kept = self._sessions.get(_key(left)) is left and self._loop.time() < left.until_s
        if is_kept and not self._tasks.is_closed:
            self._spawn(left)


def _key(left: _LeftSession) -> tuple[Identity, str]:
    return identity_of(left.anchor.relay), left.record.call_id
