import asyncio
import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from sipgw.local import guard
from sipgw.local.errors import ServiceFailed
from sipgw.local.events import (
    ServiceCrashed,
    ServiceLogged,
    ServiceRestarted,
    ServiceStarted,
    ServiceStopped,
    SupervisorEvent,
)
from sipgw.local.service import ServiceSpec, Stage
from sipgw.local.supervisor import Supervisor
from sipgw.runtime.patience import patient

Stub = Callable[..., ServiceSpec]


class Told:
    """Collects events and lets a test wait for one."""

    def __init__(self) -> None:
        self.events: list[SupervisorEvent] = []
        self._more = asyncio.Event()

    def __call__(self, event: SupervisorEvent) -> None:
        self.events.append(event)
        self._more.set()

    def of(self, kind: type) -> list[SupervisorEvent]:
        return [event for event in self.events if isinstance(event, kind)]

    async def first(self, kind: type, count: int = 1) -> SupervisorEvent:
        async with asyncio.timeout(patient(10)):
            while len(self.of(kind)) < count:
                self._more.clear()
                await self._more.wait()
        return self.of(kind)[count - 1]


def port_of(address: str) -> int:
    return int(address.rpartition(":")[2])


async def test_it_returns_when_all_are_ready_and_has_learned_their_ports(stub: Stub, tmp_path: Path) -> None:
    told = Told()
    async with Supervisor(tmp_path, told) as supervisor:
        await supervisor.start(stub("one"), stub("two"))
        ports = {port_of(supervisor.service(name).binds["listen"]) for name in ("one", "two")}
        assert len(ports) == 2
        for port in ports:
            socket.create_connection(("127.0.0.1", port)).close()
    assert {event.name for event in told.of(ServiceStarted)} == {"one", "two"}
    assert all(event.is_clean for event in told.of(ServiceStopped))
    assert guard.processes_of(supervisor.run_id) == {}


async def test_it_ends_edges_first_and_redis_last(stub: Stub, tmp_path: Path) -> None:
    order = tmp_path / "order"
    async with Supervisor(tmp_path, Told()) as supervisor:
        await supervisor.start(*(stub(stage.name, stage, "--order-file", str(order)) for stage in Stage))
    assert order.read_text().split() == ["EDGE", "RELAY", "BOT", "REGISTRY", "REDIS"]


async def test_a_crashed_service_is_told_and_comes_back_on_its_old_port(stub: Stub, tmp_path: Path) -> None:
    told = Told()
    async with Supervisor(tmp_path, told) as supervisor:
        await supervisor.start(stub("relay-0"))
        service = supervisor.service("relay-0")
        old_pid, address = service.pid, service.binds["listen"]
        assert old_pid is not None
        os.kill(old_pid, signal.SIGKILL)
        crashed = await told.first(ServiceCrashed)
        assert isinstance(crashed, ServiceCrashed)
        assert (crashed.name, crashed.how) == ("relay-0", "was killed by SIGKILL")
        await told.first(ServiceRestarted)
        assert service.pid != old_pid
        assert service.binds["listen"] == address
        socket.create_connection(("127.0.0.1", port_of(address))).close()


async def test_pauses_between_restarts_double(
    stub: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sipgw.local.supervisor._FIRST_PAUSE_S", 0.01)
    told = Told()
    async with Supervisor(tmp_path, told) as supervisor:
        await supervisor.start(stub("bot"))
        for count in (1, 2, 3):
            os.kill(supervisor.service("bot").pid or 0, signal.SIGKILL)
            await told.first(ServiceRestarted, count)
    assert [event.restart_in_s for event in told.of(ServiceCrashed)] == [0.01, 0.02, 0.04]


async def test_a_service_that_cannot_start_is_named_with_its_own_words_and_all_others_end(
    stub: Stub, tmp_path: Path
) -> None:
    async def start_all() -> None:
        async with supervisor:
            await supervisor.start(stub("good"))
            await supervisor.start(
                stub("edge-0", Stage.EDGE, "--fail", "UDP port 5060 is taken"), stub("other")
            )

    supervisor = Supervisor(tmp_path, Told())
    with pytest.raises(ServiceFailed) as failed:
        await start_all()
    assert str(failed.value) == "edge-0 did not start: UDP port 5060 is taken"
    assert guard.processes_of(supervisor.run_id) == {}


async def test_a_service_that_dies_without_a_word_is_told_by_its_end(stub: Stub, tmp_path: Path) -> None:
    async with Supervisor(tmp_path, Told()) as supervisor:
        with pytest.raises(ServiceFailed, match=r"^bot did not start: it was killed by SIGKILL$"):
            await supervisor.start(stub("bot", Stage.BOT, "--die"))


async def test_a_service_that_is_never_ready_fails_in_time_which_is_longer_on_a_busy_machine(
    stub: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sipgw.local.service.patient", lambda seconds: 3 * seconds)
    async with Supervisor(tmp_path, Told()) as supervisor:
        with pytest.raises(ServiceFailed, match=r"bot did not start: not ready after 0.9 s"):
            await supervisor.start(stub("bot", Stage.BOT, "--silent", ready_timeout_s=0.3))


async def test_a_missing_program_is_named(tmp_path: Path) -> None:
    async with Supervisor(tmp_path, Told()) as supervisor:
        with pytest.raises(ServiceFailed, match="cannot run /no/such/program"):
            await supervisor.start(ServiceSpec("x", Stage.BOT, ("/no/such/program",)))


async def test_a_service_deaf_to_sigterm_is_killed_and_told_as_unclean(stub: Stub, tmp_path: Path) -> None:
    told = Told()
    async with Supervisor(tmp_path, told) as supervisor:
        await supervisor.start(stub("deaf", Stage.RELAY, "--deaf", stop_timeout_s=0.2))
    assert told.of(ServiceStopped) == [ServiceStopped("deaf", is_clean=False)]
    assert guard.processes_of(supervisor.run_id) == {}


async def test_a_child_that_a_service_left_behind_is_ended_too(stub: Stub, tmp_path: Path) -> None:
    async with Supervisor(tmp_path, Told(), guard_grace_s=0.2) as supervisor:
        await supervisor.start(stub("parent", Stage.BOT, "--child"))
        assert sum(map(len, guard.processes_of(supervisor.run_id).values())) == 2
    assert guard.processes_of(supervisor.run_id) == {}


async def test_log_lines_are_passed_on(stub: Stub, tmp_path: Path) -> None:
    told = Told()
    async with Supervisor(tmp_path, told) as supervisor:
        await supervisor.start(stub("bot"))
    logged = told.of(ServiceLogged)
    assert isinstance(logged[0], ServiceLogged)
    assert logged[0].line.event == "ready"
    assert logged[0].line.words().startswith("ready listen=127.0.0.1:")


SUPERVISOR_TO_KILL = """
    import asyncio, sys
    from pathlib import Path
    from sipgw.local.service import ServiceSpec, Stage
    from sipgw.local.supervisor import Supervisor

    async def main():
        async with Supervisor(Path(sys.argv[1]), lambda event: None) as supervisor:
            await supervisor.start(*(
                ServiceSpec(s.name, s, (sys.executable, "-S", sys.argv[2], "--name", s.name,
                            "--listen", "127.0.0.1:0", "--order-file", sys.argv[3]))
                for s in Stage))
            print(supervisor.run_id, supervisor.scratch, flush=True)
            await asyncio.sleep(60)

    asyncio.run(main())
"""


def test_nothing_is_left_when_the_supervisor_is_killed_and_the_order_is_kept(tmp_path: Path) -> None:
    order = tmp_path / "order"
    stub = Path(__file__).with_name("stub_service.py")
    command = [
        sys.executable,
        "-c",
        textwrap.dedent(SUPERVISOR_TO_KILL),
        str(tmp_path),
        str(stub),
        str(order),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as supervisor:
        assert supervisor.stdout is not None
        run_id, scratch = supervisor.stdout.readline().split()
        assert Path(scratch).is_dir()
        living = [process for processes in guard.processes_of(run_id).values() for process in processes]
        assert len(living) == len(Stage)
        supervisor.kill()
        supervisor.stdout.read()  # open until the guard ends, which inherited it
    assert guard.processes_of(run_id) == {}
    assert order.read_text().split() == ["EDGE", "RELAY", "BOT", "REGISTRY", "REDIS"]
    assert not Path(scratch).exists()
