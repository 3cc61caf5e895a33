"""When other tasks have their turn while somebody sends."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import pytest

from .memory import READY, MemoryConnection, out, serving

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """trio runs what is ready in any order."""
    return "asyncio"


async def test_others_have_their_turn_before_each_send_but_an_answer() -> None:
    class Direct(MemoryConnection):
        async def room(self) -> None:
            order.append("sent")

    order: list[str] = []

    async def look() -> None:
        order.append("looked")

    async with serving(Direct(READY, out(b"?"))) as pods, pods.exec.stream("one", ["x"], stdin=True) as process:
        assert await process.stdout.receive() == b"?"
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(look)
            await process.stdin.send(b"!")
            tasks.start_soon(look)
            await process.stdin.send(b"!")
    assert order == ["sent", "looked", "looked", "sent"]


@pytest.mark.parametrize(("size", "most"), [(1, 64), (32 * 1024, 8)])
async def test_a_flood_of_sends_that_need_no_turn_starves_nobody(size: int, most: int) -> None:
    """Where the transport itself takes in what has come before it writes."""

    class ReadsFirst(MemoryConnection):
        reads_first = True

        async def room(self) -> None:
            sent.append(sent.pop() + 1)

    sent = [0]

    async def look() -> None:
        while True:
            sent.append(0)
            await anyio.lowlevel.checkpoint()

    async with serving(ReadsFirst(READY)) as pods, pods.exec.stream("one", ["x"], stdin=True) as process:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(look)
            for _ in range(1000):
                await process.stdin.send(bytes(size))
            tasks.cancel_scope.cancel()
    assert sum(sent) == 1000
    assert 1 < max(sent) <= most
