"""End a supervisor's processes when the supervisor itself is gone, even by kill -9.

Run as a script beside the supervisor, with the end of a pipe as standard input: end of file means that the
supervisor has ended. Processes left of its run are found by an environment variable that each of them
inherited, so neither a fork at the wrong moment nor a grandchild escapes. They are ended stage by stage, so
that callers get their BYE; then the run's scratch directory is removed. This imports nothing of ours: it must
start fast and not break.
"""

import contextlib
import os
import shutil
import sys
import time

import psutil

RUN_VARIABLE = "SIPGW_UP_RUN"
STAGE_VARIABLE = "SIPGW_UP_STAGE"


def processes_of(run_id: str) -> dict[int, list[psutil.Process]]:
    """Return the living processes of a run by stage, without ourselves."""
    found: dict[int, list[psutil.Process]] = {}
    for process in psutil.process_iter():
        try:
            environment = process.environ()
            if environment.get(RUN_VARIABLE) != run_id or process.pid == os.getpid():
                continue
            if _is_alive(process):
                found.setdefault(int(environment.get(STAGE_VARIABLE, "0")), []).append(process)
        except psutil.Error:
            continue
    return found


def end_run(run_id: str, grace_s: float) -> int:
    """Send SIGTERM to each stage in order, and SIGKILL to processes that do not end in time.

    Return how many were found.
    """
    stages = processes_of(run_id)
    for stage in sorted(stages):
        for process in stages[stage]:
            _signal(process, hard=False)
        deadline = time.monotonic() + grace_s
        while any(map(_is_alive, stages[stage])) and time.monotonic() < deadline:
            time.sleep(0.02)
        for process in stages[stage]:
            _signal(process, hard=True)
    late = [process for processes in processes_of(run_id).values() for process in processes]
    for process in late:
        _signal(process, hard=True)
    return sum(map(len, stages.values()))


def _is_alive(process: psutil.Process) -> bool:
    """Return whether a process runs; a zombie does not.

    In a container without an init orphans stay zombies: nobody collects them.
    """
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _signal(process: psutil.Process, *, hard: bool) -> None:
    with contextlib.suppress(psutil.Error):
        if hard:
            process.kill()
        else:
            process.terminate()


def main() -> None:
    """Wait for the end of standard input, then end the run."""
    run_id, grace_s, scratch = sys.argv[1], float(sys.argv[2]), sys.argv[3]
    while os.read(0, 4096):
        pass
    end_run(run_id, grace_s)
    shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    main()
