"""When a relay has been silent for too long, in virtual time: fair to late edges and to late machines."""

from collections.abc import Callable, Iterable

from hypothesis import example, given, settings
from hypothesis import strategies as st

from sipgw.sip_edge.media.silence import SHARED_FACTOR, SUSPECT_AFTER_S, SilenceJudge

TURN_S = 0.05
LIMIT_S = 0.8
PING_S = 0.2
late = st.floats(0, 5.0)


class Edge:
    """An edge whose loop turns when the test says so, with relays that return pings while they can."""

    def __init__(self, *relays: str) -> None:
        self.now = 100.0
        self.judge: SilenceJudge[str] = SilenceJudge(LIMIT_S, TURN_S)
        self.heard_at = dict.fromkeys(relays, self.now)
        self.judge.observe(self.heard_at, self.now)

    def turn(self, *, late_s: float = 0.0, heard: Iterable[str] = ()) -> set[str]:
        self.now += TURN_S + late_s
        self.heard_at |= dict.fromkeys(heard, self.now)
        return self.judge.observe(self.heard_at, self.now)

    def run(self, seconds: float, *, heard: Iterable[str] = ()) -> set[str]:
        """Take turns on time until a relay is judged silent; give the judged ones."""
        end = self.now + seconds
        while self.now < end:
            if judged := self.turn(heard=heard):
                return judged
        return set()

    def until_judged(self, *, heard: Iterable[str] = (), within_s: float = 10.0) -> tuple[set[str], float]:
        began = self.now
        return self.run(within_s, heard=heard), self.now - began


def test_a_relay_alone_in_the_gateway_is_left_within_a_second() -> None:
    judged, after_s = Edge("a").until_judged()
    assert judged == {"a"}
    assert LIMIT_S - TURN_S < after_s < LIMIT_S + TURN_S


def test_a_dead_relay_beside_one_that_answers_is_left_within_a_second() -> None:
    judged, after_s = Edge("a", "b").until_judged(heard="b")
    assert judged == {"a"}
    assert after_s < 0.9


def test_a_dead_relay_is_left_within_a_second_beside_one_heard_once_a_ping() -> None:
    """Between two pings the live relay is silent too; its next ping clears no other relay."""
    edge = Edge("a", "b")
    for turn in range(1, 18):
        if edge.turn(heard="b" if turn % 4 == 0 else ""):
            return
    raise AssertionError("still there after 0.85 s")


def test_of_two_dead_beside_one_that_answers_both_are_left_within_a_second() -> None:
    edge = Edge("a", "b", "c")
    judged, after_s = edge.until_judged(heard="c")
    assert judged == {"a", "b"}
    assert after_s < 0.9


def test_a_relay_that_was_left_before_is_no_witness_for_the_next() -> None:
    """Sessions left there keep it among the relays that are listened to."""
    edge = Edge("a", "b")
    edge.until_judged(heard="b")
    for _ in range(40):
        edge.turn(heard="b")
    began = edge.now
    while edge.turn() != {"a", "b"}:
        assert edge.now - began < 0.9


def test_relays_that_are_all_dead_are_left_in_the_end() -> None:
    edge = Edge("a", "b")
    judged, after_s = edge.until_judged()
    assert judged == {"a", "b"}
    assert after_s < SHARED_FACTOR * LIMIT_S + 0.1


def test_relays_that_stood_still_together_are_kept_when_they_return_one_after_the_other() -> None:
    """A busy machine: 1.5 s for all, and the second relay returns a little later than the first."""
    edge = Edge("a", "b")
    assert edge.run(1.5) == set()
    assert edge.turn(heard="a") == set()
    assert edge.run(0.3, heard="a") == set()
    assert edge.run(3.0, heard="ab") == set()


def test_one_that_stays_away_when_the_others_return_is_left_soon() -> None:
    edge = Edge("a", "b")
    edge.run(1.5)
    judged, after_s = edge.until_judged(heard="a")
    assert judged == {"b"}
    assert after_s < LIMIT_S


def test_a_relay_that_is_used_no_more_is_forgotten() -> None:
    edge = Edge("a", "b")
    edge.run(0.7, heard="b")
    del edge.heard_at["a"]
    edge.turn(heard="b")
    edge.heard_at["a"] = edge.now
    assert edge.run(0.7, heard="b") == set()


@given(st.lists(late, min_size=1, max_size=60))
def test_what_an_edge_was_late_is_never_a_relays_silence(lateness: list[float]) -> None:
    """However late the turns come, fewer of them than the limit is long judge no relay."""
    edge = Edge("a")
    turns = int(LIMIT_S / TURN_S) - 1
    for late_s in lateness[:turns]:
        assert edge.turn(late_s=late_s) == set()


@given(st.lists(st.tuples(late, st.booleans(), st.booleans()), max_size=200))
def test_a_relay_that_answers_every_other_ping_is_never_left(
    turns: list[tuple[float, bool, bool]],
) -> None:
    edge = Edge("a", "b")
    missed = 0
    for late_s, a_answers, b_answers in turns:
        missed = 0 if a_answers else missed + 1
        answers = missed * TURN_S >= 2 * PING_S or a_answers
        missed = 0 if answers else missed
        heard = [name for name, is_heard in (("a", answers), ("b", b_answers)) if is_heard]
        assert "a" not in edge.turn(late_s=late_s, heard=heard)


@settings(max_examples=40)
@example(0.375, [0.0, 0.35])  # no relay is suspect when the pause ends, so no silence is cleared
@given(
    st.floats(0.05, SHARED_FACTOR * LIMIT_S - 0.5),
    st.lists(st.floats(0, SUSPECT_AFTER_S - TURN_S), min_size=2, max_size=6),
)
def test_a_pause_of_the_whole_machine_moves_nothing(pause_s: float, returns: list[float]) -> None:
    """All relays stop at once for up to 1.9 s, and return within 0.35 s of each other, in any order."""
    names = [f"r{number}" for number in range(len(returns))]
    edge = Edge(*names)
    edge.run(0.5, heard=names)
    assert edge.run(pause_s) == set()
    resumed_at = edge.now
    for _ in range(40):
        heard = [
            name for name, at in zip(names, returns, strict=True) if edge.now + TURN_S >= resumed_at + at
        ]
        assert edge.turn(heard=heard) == set()


@settings(max_examples=40)
@given(st.lists(st.tuples(late, st.frozensets(st.sampled_from("bcd"))), min_size=80, max_size=80))
def test_a_dead_relay_is_always_left_in_bounded_listening(
    turns: list[tuple[float, frozenset[str]]],
) -> None:
    """Other relays and delays of the edge's own loop do not prevent this; 80 turns are 4 s of listening."""
    edge = Edge("a", "b", "c", "d")
    assert any("a" in edge.turn(late_s=late_s, heard=heard) for late_s, heard in turns)


def test_a_dead_relay_is_left_though_the_others_come_and_go() -> None:
    """A relay that returns clears the silence that all shared, not that counted while others were heard."""
    edge = Edge("a", "b")
    for _ in range(4):
        if edge.run(0.3, heard="b") or edge.run(0.6):
            return
    raise AssertionError("a dead relay kept its calls")


def test_the_silence_of_one_relay_is_told() -> None:
    edge = Edge("a", "b")
    edge.run(0.5, heard="b")
    told: Callable[[str], float] = edge.judge.silence_s
    assert 0.4 < told("a") < 0.6
    assert told("b") == told("x") == 0.0
