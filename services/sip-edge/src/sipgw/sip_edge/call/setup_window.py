"""How many calls may be set up at once: a window that shrinks while even the quickest set-up is slow.

A gateway that takes more calls than it gets through gives none of them an answer in time: all wait for one
another until their callers give up. Set-ups are timed from the INVITE until a relay has the call, so that a
slow edge loop, Redis, registry or relay all count and a bot that takes its time does not. As in CoDel (RFC
8289) the minimum over an interval decides: a queue that all stand in is overload, one relay that hangs is
not.
"""

from typing import Final

from sipgw.sip_edge.limits import SetupWindowLimits

_SHRINK: Final = 0.7
_GROW: Final = 1.1


class SetupWindow:
    """`enter` with each new call, `leave` once it is set up or has failed."""

    def __init__(self, limits: SetupWindowLimits) -> None:
        self._limits = limits
        self._size = float(limits.most)
        self._in_hand = 0
        self._strangers = 0
        self._quickest_s: float | None = None
        self._judge_at = 0.0
        self._was_full = False

    @property
    def in_hand(self) -> int:
        """Calls that have entered and not left."""
        return self._in_hand

    @property
    def size(self) -> int:
        """How many may be in hand."""
        return int(self._size)

    def enter(self, now: float, *, is_stranger: bool = False) -> "Setup | None":
        """A place for one more call; None when the window is full. Strangers get half of it at most."""
        if is_stranger and self._strangers >= self.size // 2:
            return None
        if self._in_hand >= self.size:
            self._was_full = True
            return None
        self._in_hand += 1
        self._strangers += is_stranger
        return Setup(self, now, is_stranger=is_stranger)

    def leave(self, took_s: float, now: float, *, is_set_up: bool, is_stranger: bool = False) -> None:
        """A call is set up, or will not be: only what was carried through tells how long that takes."""
        self._in_hand -= 1
        self._strangers -= is_stranger
        if not is_set_up:
            return
        if self._quickest_s is None:
            self._quickest_s, self._judge_at = took_s, now + self._limits.interval_s
            return
        self._quickest_s = min(took_s, self._quickest_s)
        if now >= self._judge_at:
            self._judge(self._quickest_s)
            self._quickest_s, self._was_full = None, False

    def _judge(self, quickest_s: float) -> None:
        if quickest_s > self._limits.target_s:
            self._size = max(self._limits.least, self._size * _SHRINK)
        elif self._was_full:
            self._size = min(self._limits.most, self._size * _GROW)


class Setup:
    """One call's place in the window; the first `done` counts."""

    __slots__ = ("_began", "_is_stranger", "_window")

    def __init__(self, window: SetupWindow, now: float, *, is_stranger: bool) -> None:
        self._is_stranger = is_stranger
        self._window: SetupWindow | None = window
        self._began = now

    def done(self, now: float, *, is_set_up: bool) -> None:
        """Give the place back."""
        window, self._window = self._window, None
        if window is not None:
            window.leave(now - self._began, now, is_set_up=is_set_up, is_stranger=self._is_stranger)
