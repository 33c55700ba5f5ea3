"""Whether the relay has CPU left for another call, in virtual time."""

import math

import pytest
from structlog.testing import capture_logs

from sipgw.media_relay.load.cpu_limit import read_cpu_limit
from sipgw.media_relay.load.head_room import MOST_CPU, MOST_TICK_LOAD, RelayHeadRoom


class Clock:
    """A TickClock that has this load, and counts ticks by hand."""

    def __init__(self, load):
        self.load = load
        self.number = self.late = 0


class Machine:
    """Time and CPU by hand."""

    def __init__(self, limit=math.inf, load=0.0):
        self.now = self.spent = 0.0
        self.limit = limit
        self.clock = Clock(load)
        self.room = RelayHeadRoom(self.clock, lambda: self.spent, lambda: self.now, lambda: self.limit)
        self.room.begin()
        self.room.measure(has_calls=True)

    def work(self, cores, seconds, every=1.0):
        for _ in range(round(seconds / every)):
            self.now += every
            self.spent += cores * every
            self.room.measure(has_calls=True)
        return self.room

    def pass_seconds(self, *late, has_calls=True):
        """Let a second pass for each share of late ticks; return which of them ended with a refusal."""
        refused = []
        for share in late:
            self.now += 1
            self.clock.number += 200
            self.clock.late += round(200 * share)
            self.room.measure(has_calls=has_calls)
            refused.append(bool(self.room.refusal()))
        return refused


@pytest.mark.parametrize("limit", [math.inf, 8.0, 1.0, 0.5, 0.1])
def test_a_relay_is_full_at_a_share_of_the_core_that_it_may_use(limit):
    may_use = min(limit, 1.0)
    assert not Machine(limit).work(may_use * (MOST_CPU - 0.02), 60).refusal()
    assert "relay uses" in Machine(limit).work(may_use * (MOST_CPU + 0.02), 60).refusal()
    assert not Machine(limit, load=may_use * (MOST_TICK_LOAD - 0.02)).room.refusal()
    assert "ticks" in Machine(limit, load=may_use * (MOST_TICK_LOAD + 0.02)).room.refusal()


def test_a_container_that_is_resized_is_judged_by_its_new_limit():
    machine = Machine(limit=0.5)
    assert machine.work(0.6, 30).refusal()
    machine.limit = 2.0
    assert not machine.work(0.6, 1).refusal()


def test_what_is_measured_late_weighs_as_long_as_it_lasted():
    often, rarely = Machine(), Machine()
    for machine, every in ((often, 1.0), (rarely, 4.0)):
        machine.work(0.9, 4, every)
    assert rarely.room.cpu == pytest.approx(often.room.cpu)


@pytest.mark.parametrize("begin", [lambda room: room.drain(on=True), lambda room: room.stop()])
def test_a_relay_that_drains_says_so_full_or_not(begin):
    room = Machine(load=0.95).room
    assert room.refusal().startswith("full: ")
    begin(room)
    assert room.refusal().startswith("draining: ")
    assert room.gives_away
    assert room.full_reason()


def test_the_log_says_once_that_the_relay_is_full_and_once_that_it_has_room():
    machine = Machine()
    with capture_logs() as logs:
        for cores in (0.5, 0.95, 0.89, 0.91, 0.89, 0.91, 0.5, 0.4):
            machine.work(cores, 30)
    assert [log["event"] for log in logs] == ["relay_became_full", "relay_had_room_again"]
    assert "CPU" in logs[0]["reason"]


@pytest.mark.parametrize(
    ("late", "within_s"),
    [
        ([1.0], 2),  # every tick is late
        ([0.5], 3),
        ([0.2], 6),
        ([0.48, 0.0, 0.0], 7),  # half a second of every three
        ([0.0, 0.0, 0.0, 0.9], 8),
    ],
)
def test_calls_are_refused_when_the_audio_is_late_though_the_cpu_is_idle(late, within_s):
    refused = Machine().pass_seconds(*late * 20)
    assert True in refused[:within_s]
    assert refused[-1]  # the verdict does not flap
    assert refused == sorted(refused)


@pytest.mark.parametrize(
    "late",
    [
        [0.48],  # one stall of half a second
        [0.98],  # or of a whole one
        [0.48, *[0.0] * 4],  # half a second of every five
        [0.09],  # always a little late
        [0.0],
    ],
)
def test_a_hiccup_of_the_machine_refuses_nobody(late):
    refused = Machine().pass_seconds(*[0.0] * 20, *(late * 20 if len(late) > 1 or late[0] < 0.1 else late))
    assert not any(refused)


def test_the_reason_is_one_of_its_own_and_ends_when_the_ticks_are_on_time_again():
    machine = Machine()
    with capture_logs() as logs:
        machine.pass_seconds(0.0, *[0.6] * 10)
        assert machine.room.refusal() == (
            "late: the audio is late: 60% of the last 10 s ran more than 20 ms late; "
            "place the call on another relay"
        )
        assert not machine.room.full_reason()
        assert not machine.room.gives_away
        refused = machine.pass_seconds(*[0.04] * 10)
    assert refused == [True] * 4 + [False] * 6
    assert [log["event"] for log in logs] == ["audio_became_late", "audio_was_on_time_again"]


def test_what_is_over_does_not_make_the_audio_late_again():
    machine = Machine()
    machine.pass_seconds(*[1.0] * 5, *[0.0] * 5)
    assert machine.pass_seconds(0.48, *[0.0] * 10) == [False] * 11


def test_a_long_stall_that_is_seen_at_once_counts_as_long_as_it_lasted():
    """The second's measurement comes with the first tick after it."""
    machine = Machine()
    machine.clock.number += 600
    machine.clock.late += 596
    machine.room.measure(has_calls=True)
    assert machine.room.is_late
    assert machine.pass_seconds(*[0.0] * 6) == [True] * 4 + [False] * 2


def test_without_calls_no_audio_is_late():
    machine = Machine()
    assert not any(machine.pass_seconds(*[1.0] * 20, has_calls=False))
    assert machine.pass_seconds(0.9, 0.9)[-1]


def test_draining_and_full_go_before_late():
    machine = Machine()
    machine.pass_seconds(*[1.0] * 5)
    machine.room.cpu = 0.95
    assert machine.room.refusal().startswith("full: ")
    machine.room.drain(on=True)
    assert machine.room.refusal().startswith("draining: ")
    assert machine.room.is_late


@pytest.fixture
def cgroup(tmp_path):
    """Make the kernel's files: the membership, and the mounted groups."""

    def make(membership, **files):
        (tmp_path / "cgroup").write_text(membership)
        for name, text in files.items():
            path = tmp_path / "mount" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return read_cpu_limit(tmp_path / "cgroup", tmp_path / "mount")

    return make


@pytest.mark.parametrize(
    ("membership", "files", "cores"),
    [
        ("0::/\n", {"cpu.max": "50000 100000\n"}, 0.5),  # a container with a namespace of its own
        ("0::/\n", {"cpu.max": "max 100000\n"}, math.inf),
        ("0::/\n", {}, math.inf),  # the root has no such file
        ("0::/pod/relay\n", {"pod/relay/cpu.max": "max 100000", "pod/cpu.max": "150000 100000"}, 1.5),
        ("0::/pod/relay\n", {"pod/relay/cpu.max": "20000 100000", "pod/cpu.max": "150000 100000"}, 0.2),
        ("0::/../elsewhere\n", {"cpu.max": "70000 100000"}, 0.7),  # the host's: our group is the root
        (
            "4:memory:/x\n2:cpu,cpuacct:/pod\n0::/\n",
            {"cpu,cpuacct/pod/cpu.cfs_quota_us": "25000\n", "cpu,cpuacct/pod/cpu.cfs_period_us": "50000\n"},
            0.5,
        ),
        (
            "1:cpu:/kubepods/of-the-host\n",
            {"cpu/cpu.cfs_quota_us": "30000\n", "cpu/cpu.cfs_period_us": "100000\n"},
            0.3,
        ),
        ("1:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, math.inf),
        ("3:cpuset:/pod\n", {"cpuset/pod/cpu.cfs_quota_us": "1\n"}, math.inf),
    ],
)
def test_the_limit_of_the_container_is_read_in_both_versions_of_cgroups(cgroup, membership, files, cores):
    assert cgroup(membership, **files) == cores


def test_where_there_are_no_cgroups_nothing_limits(tmp_path):
    assert read_cpu_limit(tmp_path / "none", tmp_path) == math.inf
