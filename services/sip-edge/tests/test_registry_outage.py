"""How long new calls wait for a registry that is away, in virtual time."""

from hypothesis import given
from hypothesis import strategies as st

from sipgw.sip_edge.media.registry_outage import RegistryOutage

PATIENCE_S = 4.0


def outage() -> RegistryOutage:
    return RegistryOutage(PATIENCE_S)


def test_without_an_outage_nobody_waits() -> None:
    assert not outage().may_wait(0.0, 0.0)


def test_a_call_waits_for_a_registry_that_has_just_gone() -> None:
    away = outage()
    away.note_unreachable(10.0)
    assert away.may_wait(10.0, 13.9)
    assert not away.may_wait(10.0, 14.1)


def test_of_a_registry_that_stays_away_callers_hear_at_once() -> None:
    away = outage()
    for second in range(10, 20):
        away.note_unreachable(float(second))
    assert not away.may_wait(18.5, 18.5)


def test_a_registry_that_is_back_may_lack_relays_for_a_moment() -> None:
    away = outage()
    away.note_unreachable(10.0)
    away.note_answered(11.0)
    assert away.may_wait(11.0, 12.5)
    away.note_answered(13.1)
    assert not away.may_wait(13.1, 13.1)


def test_one_that_goes_again_while_it_recovers_is_one_outage() -> None:
    away = outage()
    away.note_unreachable(10.0)
    away.note_answered(11.0)
    away.note_unreachable(12.0)
    assert away.may_wait(17.0, 17.9)
    assert not away.may_wait(17.0, 18.1)


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 5)), max_size=50), st.floats(0, 100))
def test_nobody_ever_waits_longer_than_the_patience(steps: list[tuple[bool, float]], asked_at: float) -> None:
    away = outage()
    now = asked_at
    for is_answered, later_s in steps:
        now += later_s
        (away.note_answered if is_answered else away.note_unreachable)(now)
        if now - asked_at >= PATIENCE_S:
            assert not away.may_wait(asked_at, now)
