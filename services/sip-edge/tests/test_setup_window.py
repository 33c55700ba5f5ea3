"""The set-up window in virtual time: what it admits at once, and how a slow gateway shrinks it."""

import pytest

from sipgw.sip_edge.call.setup_window import Setup, SetupWindow
from sipgw.sip_edge.limits import SetupWindowLimits

LIMITS = SetupWindowLimits(least=4, most=32, target_s=0.2, interval_s=0.25)


def entered(window: SetupWindow, now: float) -> list[Setup]:
    """Enter calls until the window is full."""
    setups: list[Setup] = []
    while (setup := window.enter(now)) is not None:
        setups.append(setup)
    return setups


def rounds(window: SetupWindow, took_s: list[float], count: int) -> None:
    """Run `count` rounds of a full window, each over one interval; its set-ups take `took_s`."""
    now = 0.0
    for _ in range(count):
        setups = entered(window, now)
        for i in range(len(setups)):
            left_at = now + LIMITS.interval_s * i / (len(setups) - 1)
            window.leave(took_s[i % len(took_s)], left_at, is_set_up=True)
        now += 1.0


def test_a_burst_is_taken_up_to_the_limit() -> None:
    window = SetupWindow(LIMITS)
    assert len(entered(window, 0.0)) == 32
    assert window.enter(0.0) is None


def test_a_place_is_given_back_once() -> None:
    window = SetupWindow(LIMITS)
    setup = window.enter(0.0)
    assert setup is not None
    setup.done(0.1, is_set_up=True)
    setup.done(0.2, is_set_up=False)
    assert window._in_hand == 0


def test_it_shrinks_to_the_least_while_every_setup_is_slow() -> None:
    window = SetupWindow(LIMITS)
    rounds(window, [0.5, 0.9], 1)
    assert window.size == int(32 * 0.7)
    rounds(window, [0.5, 0.9], 20)
    assert window.size == 4


def test_it_grows_back_when_setups_are_quick_again() -> None:
    window = SetupWindow(LIMITS)
    rounds(window, [0.5], 20)
    rounds(window, [0.01], 40)
    assert window.size == 32


def test_a_relay_that_hangs_is_not_overload() -> None:
    window = SetupWindow(LIMITS)
    rounds(window, [0.01, 5.0], 20)
    assert window.size == 32


@pytest.mark.parametrize("took_s", [0.001, 9.0])
def test_calls_that_are_refused_tell_nothing_of_the_pace(took_s: float) -> None:
    window = SetupWindow(LIMITS)
    rounds(window, [0.5], 20)
    for setup in entered(window, 100.0):
        setup.done(100.0 + took_s, is_set_up=False)
    assert window.size == 4
