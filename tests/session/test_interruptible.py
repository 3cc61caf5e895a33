"""Ending a wait on a transport that cannot do it itself."""

from __future__ import annotations

from typing import Any

import anyio
import anyio.lowlevel
import pytest

from kubex_stream.session.interruptible import InterruptibleReceiver

pytestmark = pytest.mark.anyio


class Plain:
    """A transport with what every transport has."""

    interruptible = False

    def __init__(self) -> None:
        self.send, self._messages = anyio.create_memory_object_stream[bytes](10)

    async def receive_views(self, size: int) -> tuple[bytes, ...]:
        assert size == 7
        return (await self._messages.receive(),)

    def close(self) -> None:
        self.send.close()
        self._messages.close()


async def test_an_interrupted_wait_gives_nothing_and_loses_nothing() -> None:
    transport: Any = Plain()
    receiver = InterruptibleReceiver(transport)
    taken: list[Any] = []

    async def take() -> None:
        taken.append(await receiver.receive(7))

    receiver.interrupt()
    for _ in range(2):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(take)
            await anyio.wait_all_tasks_blocked()
            receiver.interrupt()
    assert taken == [(), ()]
    transport.send.send_nowait(b"message")
    await take()
    assert taken[2] == (b"message",)
    transport.close()


async def test_a_cancellation_from_outside_is_none_of_its_own() -> None:
    transport: Any = Plain()
    receiver = InterruptibleReceiver(transport)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await receiver.receive(7)
        pytest.fail("a cancelled wait has returned")
    assert scope.cancelled_caught
    receiver.interrupt()
    transport.close()
