"""Limit how many calls are set up at once, by a window that shrinks while even the quickest set-up is slow.

A gateway that admits more calls than it can set up answers none of them in time: all wait for one another
until their callers give up. A set-up is timed from the INVITE until a relay has the call, so a slow event
loop, Redis, registry or relay counts, but a slow bot does not. As in CoDel (RFC 8289) the minimum over an
interval decides: if every set-up waits, the gateway is overloaded; if one relay hangs, it is not.
"""

from typing import Final

from sipgw.sip_edge.limits import SetupWindowLimits

_SHRINK: Final = 0.7
_GROW: Final = 1.1


class SetupWindow:
    """Places for calls being set up: `enter` with each new call, `leave` once it is set up or has failed."""

    def __init__(self, limits: SetupWindowLimits) -> None:
        self._limits = limits
        self._size = float(limits.most)
        self._in_hand = 0
        self._strangers = 0
        self._quickest_s: float | None = None
        self._judge_at = 0.0
        self._was_full = False

    @property
    def size(self) -> int:
        """The number of places."""
        return int(self._size)

    def enter(self, now: float, *, is_stranger: bool = False) -> "Setup | None":
        """Take a place for one more call; None if the window is full. Strangers get at most half of it."""
        if is_stranger and self._strangers >= self.size // 2:
            return None
        if self._in_hand >= self.size:
            self._was_full = True
            return None
        self._in_hand += 1
        self._strangers += is_stranger
        return Setup(self, now, is_stranger=is_stranger)

    def leave(self, took_s: float, now: float, *, is_set_up: bool, is_stranger: bool = False) -> None:
        """Give a place back; only a set-up that succeeded counts as a measurement."""
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
    """One call's place in the window; only the first `done` counts."""

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
