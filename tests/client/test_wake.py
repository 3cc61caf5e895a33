"""A task that goes on inside of the callback that woke it."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import pytest

from kubex_stream.client.wake import Wake

pytestmark = pytest.mark.anyio


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """The loops that have tasks of asyncio."""
    return ("asyncio", {"use_uvloop": request.param})


async def waiting(seen: list[str], wake: Wake) -> None:
    try:
        await wake
    except OSError as error:
        seen.append(str(error))
    else:
        seen.append("woken")


async def test_a_callback_is_left_after_the_task_went_on() -> None:
    seen: list[str] = []
    loop = asyncio.get_running_loop()
    wake = Wake(loop)

    def callback() -> None:
        seen.append("before")
        wake.set()
        seen.append("after")
        wake.set()  # once only

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(waiting, seen, wake)
        await anyio.wait_all_tasks_blocked()
        loop.call_soon(callback)
    assert seen == ["before", "woken", "after"]


async def test_inside_of_another_task_it_goes_on_soon() -> None:
    seen: list[str] = []
    wake = Wake(asyncio.get_running_loop())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(waiting, seen, wake)
        await anyio.wait_all_tasks_blocked()
        wake.set()
        seen.append("first")
    assert seen == ["first", "woken"]


async def test_one_that_is_told_of_an_error_and_one_that_is_told_twice() -> None:
    seen: list[str] = []
    loop = asyncio.get_running_loop()
    failed, soon = Wake(loop), Wake(loop)
    assert not failed.fail(OSError("nobody waits yet"))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(waiting, seen, failed)
        tasks.start_soon(waiting, seen, soon)
        await anyio.wait_all_tasks_blocked()
        assert failed.fail(OSError("broken"))
        soon.soon()
        assert not soon.fail(OSError("too late"))
        loop.call_soon(soon.set)
    assert seen == ["broken", "woken"]


async def test_a_cancelled_one() -> None:
    wake = Wake(asyncio.get_running_loop())
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(waiting, [], wake)
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
    wake.set()
