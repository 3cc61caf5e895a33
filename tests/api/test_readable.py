"""Waiting for a socket again and again: nothing is missed, nothing spins, and closing wakes."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator

import anyio
import anyio.lowlevel
import pytest

from kubex_stream.api.readable import Readable
from kubex_stream.client.event_loops import running_event_loop

pytestmark = pytest.mark.anyio


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        yield ours, theirs


async def test_each_arrival_ends_a_wait(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    readable = Readable(ours)
    for number in range(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(readable.wait)
            await anyio.lowlevel.checkpoint()
            theirs.send(bytes([number]))
        assert ours.recv(10) == bytes([number])
    theirs.close()
    await readable.wait()
    assert ours.recv(10) == b""
    readable.close()


async def test_what_nobody_asks_for_does_not_keep_the_loop_busy(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    readable = Readable(ours)
    theirs.send(b"unread")
    await readable.wait()
    for _ in range(5):
        await anyio.lowlevel.checkpoint()
    if running_event_loop() == "asyncio":
        assert not asyncio.get_running_loop().remove_reader(ours)
    await readable.wait()
    assert ours.recv(10) == b"unread"
    readable.close()


async def test_a_cancelled_wait_can_be_repeated(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    readable = Readable(ours)
    for _ in range(3):
        with anyio.CancelScope() as scope:
            scope.cancel()
            await readable.wait()
    theirs.send(b"x")
    with anyio.fail_after(10):
        await readable.wait()
    readable.close()


async def test_a_wait_that_is_cancelled_as_something_comes_loses_nothing(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = pair
    readable = Readable(ours)
    ended: list[str] = []

    async def wait(outer: anyio.CancelScope, inner: anyio.CancelScope) -> None:
        with outer, inner:
            await readable.wait()
            ended.append("came")
        await anyio.lowlevel.checkpoint()  # no second cancellation is left behind
        ended.append("left")

    for cancel_first in (True, False, True):
        outer, inner = anyio.CancelScope(), anyio.CancelScope()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait, outer, inner)
            await anyio.wait_all_tasks_blocked()
            if not cancel_first:
                theirs.send(b"x")
            outer.cancel()
            inner.cancel()
            if cancel_first:
                theirs.send(b"x")
        assert ended[-1] == "left"
        with anyio.fail_after(10):
            await readable.wait()
        assert ours.recv(10) == b"x"
        ended.clear()
    readable.close()


async def test_closing_wakes_who_waits_and_refuses_who_comes_later(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, _ = pair
    readable = Readable(ours)
    woken = anyio.Event()

    async def wait() -> None:
        with pytest.raises(OSError, match="closed here"):
            await readable.wait()
        woken.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        readable.close()
        ours.close()
        with anyio.fail_after(10):
            await woken.wait()
    with pytest.raises(OSError, match="closed here"):
        await readable.wait()
