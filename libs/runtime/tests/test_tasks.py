"""TaskGroupOwner."""

import asyncio

import pytest
from structlog.testing import capture_logs

from sipgw.runtime.patience import patient
from sipgw.runtime.tasks import TaskGroupOwner


async def test_aclose_cancels_and_awaits_what_still_runs() -> None:
    owner = TaskGroupOwner("edge")
    cleaned_up: list[str] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned_up.append("done")

    task = owner.spawn(work(), "work")
    await asyncio.sleep(0)
    await owner.aclose()
    assert task.cancelled()
    assert cleaned_up == ["done"]
    assert len(owner) == 0


async def test_a_crash_is_logged_with_the_tasks_name_and_leaves_the_others_running() -> None:
    owner = TaskGroupOwner("edge")

    async def crash() -> None:
        raise ValueError("no such leg")

    other = owner.spawn(asyncio.Event().wait(), "other")
    with capture_logs() as lines:
        owner.spawn(crash(), "claims")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert [(line["event"], line["task"]) for line in lines] == [("task_crashed", "edge/claims")]
    assert isinstance(lines[0]["exc_info"], ValueError)
    assert not other.done()
    await owner.aclose()


async def test_a_closed_owner_starts_nothing() -> None:
    owner = TaskGroupOwner("edge")
    await owner.aclose()
    with pytest.raises(RuntimeError, match="edge is closed"):
        owner.spawn(asyncio.sleep(0), "late")


async def test_a_task_may_close_its_own_owner() -> None:
    owner = TaskGroupOwner("edge")
    task = owner.spawn(owner.aclose(), "end")
    await asyncio.wait_for(task, patient(1))
    assert not task.cancelled()
