"""Whose turn it is to read: never nobody's while somebody waits, and never two."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
import pytest
from anyio.lowlevel import checkpoint

from kubex_stream.session.turns import Turns
from tests.session.memory import PATIENCE

pytestmark = pytest.mark.anyio


async def settled() -> None:
    """Let every task that can run do so."""
    for _ in range(10):
        await checkpoint()


class Waiting:
    """Tasks that wait, and the order in which they were woken."""

    def __init__(self, turns: Turns[str], tasks: anyio.abc.TaskGroup) -> None:
        self._turns, self._tasks = turns, tasks
        self.woken: list[str] = []
        self.scopes: dict[str, anyio.CancelScope] = {}

    async def add(self, *names: str) -> None:
        for name in names:
            self._tasks.start_soon(self._wait, name)
            await settled()

    async def _wait(self, name: str) -> None:
        with anyio.CancelScope() as self.scopes[name]:
            await self._turns.wait(name)
            self.woken.append(name)


Test = Callable[[Turns[str], Waiting], Awaitable[None]]


async def run(test: Test, allowed: Callable[[], bool] = lambda: True) -> None:
    turns: Turns[str] = Turns(allowed)
    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as tasks:
            await test(turns, Waiting(turns, tasks))
            tasks.cancel_scope.cancel()


async def test_a_reader_that_leaves_wakes_the_one_that_has_waited_longest_and_no_other() -> None:
    async def test(turns: Turns[str], waiting: Waiting) -> None:
        with turns.take("reader"):
            assert (turns.taken, turns.reader) == (True, "reader")
            await waiting.add("first", "second")
            assert turns.wanted
        assert not turns.taken
        await settled()
        assert waiting.woken == ["first"]
        with turns.take("first"):
            pass
        await settled()
        assert waiting.woken == ["first", "second"]
        assert not turns.wanted

    await run(test)


async def test_a_reader_that_fails_hands_over_too() -> None:
    async def test(turns: Turns[str], waiting: Waiting) -> None:
        with pytest.raises(LookupError):  # noqa: PT012
            with turns.take("reader"):
                await waiting.add("next")
                raise LookupError
        await settled()
        assert waiting.woken == ["next"]

    await run(test)


async def test_one_that_is_cancelled_after_it_was_woken_passes_its_turn_on() -> None:
    async def test(turns: Turns[str], waiting: Waiting) -> None:
        with turns.take("reader"):
            await waiting.add("first", "second")
        waiting.scopes["first"].cancel()  # it was woken, and has not run yet
        await settled()
        # Where the wake-up came first it has its turn, and leaves at its next step as any reader does.
        if waiting.woken == ["first"]:
            with turns.take("first"):
                pass
            await settled()
        assert waiting.woken[-1:] == ["second"]

    await run(test)


async def test_one_that_is_cancelled_while_it_waits_is_not_woken_instead_of_another() -> None:
    async def test(turns: Turns[str], waiting: Waiting) -> None:
        with turns.take("reader"):
            await waiting.add("first", "second")
            waiting.scopes["first"].cancel()
            await settled()
            assert waiting.woken == []
        await settled()
        assert waiting.woken == ["second"]

    await run(test)


async def test_news_wakes_the_one_that_it_is_for_while_another_reads_on() -> None:
    async def test(turns: Turns[str], waiting: Waiting) -> None:
        with turns.take("reader"):
            await waiting.add("first", "second")
            turns.wake("second")
            await settled()
            assert waiting.woken == ["second"]
            before = turns.news
            assert not before
            turns.wake("nobody")
            turns.wake("reader")
            assert turns.news
            assert turns.taken
        with turns.take("reader"):
            assert not turns.news  # what was news once is none for the next turn

    await run(test)


async def test_nobody_is_woken_while_reading_is_not_allowed_and_somebody_when_it_is_again() -> None:
    allowed = True

    async def test(turns: Turns[str], waiting: Waiting) -> None:
        nonlocal allowed
        with turns.take("reader"):
            await waiting.add("first")
            allowed = False
        await settled()
        assert waiting.woken == []
        allowed = True
        turns.hand_over()
        await settled()
        assert waiting.woken == ["first"]

    await run(test, lambda: allowed)


async def test_who_reads_for_others_leaves_as_soon_as_somebody_waits() -> None:
    async def test(turns: Turns[str], waiting: Waiting) -> None:
        with turns.take_for_others():
            taken, reader = turns.taken, turns.reader
            assert taken
            assert reader is None
            await waiting.add("first")
            await anyio.sleep_forever()
        assert not turns.taken
        await settled()
        assert waiting.woken == ["first"]

    await run(test)


async def test_interrupting_when_nobody_reads_for_others_does_nothing() -> None:
    async def test(turns: Turns[str], _waiting: Waiting) -> None:
        turns.interrupt()
        with turns.take("reader"):
            turns.interrupt()
            await settled()
        with turns.take_for_others():
            await settled()  # nothing is left of it

    await run(test)


async def test_handing_over_does_nothing_while_somebody_reads() -> None:
    async def test(turns: Turns[str], waiting: Waiting) -> None:
        with turns.take("reader"):
            await waiting.add("first")
            turns.hand_over()
            await settled()
            assert waiting.woken == []

    await run(test)
