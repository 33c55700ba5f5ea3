"""Two candidates on one lease, in virtual time."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from sipgw.operator.lease import LEASE_S, PERIOD_S, RENEW_WITHIN_S, Candidate, LeaseRecord, Step


class Cluster:
    """An apiserver with one Lease: a write succeeds only on the version that was read."""

    def __init__(self) -> None:
        self.record: LeaseRecord | None = None

    def write(self, holder: str, read: LeaseRecord | None) -> LeaseRecord | None:
        if (self.record.version if self.record else None) != (read.version if read else None):
            return None
        version = str(int(self.record.version) + 1) if self.record else "1"
        self.record = LeaseRecord(holder, LEASE_S, 0, version)
        return self.record


def beat(candidate: Candidate, cluster: Cluster, now: float) -> Candidate:
    """Read the lease once and act on it, as Leadership does."""
    candidate = candidate.read(cluster.record, now)
    if candidate.step(now) is Step.WAIT:
        return candidate
    written = cluster.write(candidate.identity, candidate.seen)
    return candidate if written is None else candidate.wrote(written, now)


def test_the_first_to_come_leads_and_goes_on_leading() -> None:
    cluster, a, b = Cluster(), Candidate("a"), Candidate("b")
    for tick in range(10):
        a, b = beat(a, cluster, tick * PERIOD_S), beat(b, cluster, tick * PERIOD_S + 1)
        assert a.leads(tick * PERIOD_S + 1)
        assert not b.leads(tick * PERIOD_S + 1)


def test_a_dead_leader_is_followed_after_the_lease_and_has_stopped_before() -> None:
    cluster, a, b = Cluster(), Candidate("a"), Candidate("b")
    a = beat(a, cluster, 0.0)
    b = beat(b, cluster, 0.5)  # sees the lease for the first time here
    assert not a.leads(RENEW_WITHIN_S)
    b = beat(b, cluster, 0.5 + LEASE_S - 0.1)
    assert not b.leads(0.5 + LEASE_S - 0.1)
    b = beat(b, cluster, 0.5 + LEASE_S)
    assert b.leads(0.5 + LEASE_S)


def test_a_lease_given_up_is_taken_at_once() -> None:
    cluster, a, b = Cluster(), Candidate("a"), Candidate("b")
    a = beat(a, cluster, 0.0)
    cluster.record = replace(cluster.record, holder="", version="2")  # type: ignore[type-var]
    b = beat(b, cluster, 0.1)
    assert b.leads(0.1)
    assert not beat(a.gave_up(), cluster, 0.2).leads(0.2)


def test_who_finds_another_in_the_lease_stops_at_once() -> None:
    cluster, a = Cluster(), beat(Candidate("a"), Cluster(), 0.0)
    cluster.record = LeaseRecord("b", LEASE_S, 1, "9")
    assert not a.read(cluster.record, 1.0).leads(1.0)


def test_of_two_that_create_it_at_once_one_wins() -> None:
    cluster = Cluster()
    a, b = Candidate("a").read(None, 0.0), Candidate("b").read(None, 0.0)
    assert (a.step(0.0), b.step(0.0)) == (Step.CREATE, Step.CREATE)
    assert cluster.write("a", a.seen) is not None
    assert cluster.write("b", b.seen) is None


@settings(max_examples=300)
@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.floats(0, 4), st.sampled_from(["beat", "lost write", "sleep"])),
        max_size=60,
    )
)
def test_never_do_two_lead_whatever_stalls_and_whatever_is_lost(
    steps: list[tuple[str, float, str]],
) -> None:
    cluster, now = Cluster(), 0.0
    candidates = {name: Candidate(name) for name in "ab"}
    for name, pause, what in steps:
        now += pause
        if what == "beat":
            candidates[name] = beat(candidates[name], cluster, now)
        elif what == "lost write":  # written, but the answer never came
            candidate = candidates[name] = candidates[name].read(cluster.record, now)
            if candidate.step(now) is not Step.WAIT:
                cluster.write(name, candidate.seen)
        assert sum(candidate.leads(now) for candidate in candidates.values()) <= 1
