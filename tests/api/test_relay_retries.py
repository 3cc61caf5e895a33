"""A local connection whose pod turns out to be gone, and what is tried again."""

from __future__ import annotations

import random

import anyio
import pytest
from anyio.lowlevel import checkpoint

from tests.api.relays import Remote, failure, read, relaying

pytestmark = pytest.mark.anyio


async def test_a_connection_whose_pod_was_gone_is_tried_again_with_what_was_sent() -> None:
    first, second = Remote(), Remote()
    async with relaying(first, second) as (_, client, failures):
        await client.send(b"question")
        await first.until(lambda: first.received == b"question")
        first.say(failure("gone"))
        await second.until(lambda: second.received == b"question")
        await client.send(b", more")
        await client.send_eof()
        await second.until(lambda: second.ended)
        assert bytes(second.received) == b"question, more"
        second.say(b"answer", anyio.EndOfStream())
        assert await read(client) == (b"answer", True)
    assert failures == []


async def test_an_end_that_was_passed_on_is_passed_on_again() -> None:
    first, second = Remote(), Remote()
    async with relaying(first, second) as (_, client, failures):
        await client.send(b"all")
        await client.send_eof()
        await first.until(lambda: first.ended)
        first.say(failure("gone"))
        await second.until(lambda: second.ended)
        assert bytes(second.received) == b"all"
        second.say(b"answer", anyio.EndOfStream())
        assert await read(client) == (b"answer", True)
    assert failures == []


async def test_an_answer_that_begins_while_what_was_kept_is_sent_again() -> None:
    question = random.Random(2).randbytes(200_000)
    first, second = Remote(), Remote(takes=5_000)
    async with relaying(first, second) as (_, client, failures):
        await client.send(question)
        await first.until(lambda: first.received == question)
        first.say(failure("gone"))
        await second.until(lambda: bool(second.received))
        second.say(b"answer")
        assert await client.receive() == b"answer"
        second.takes = None
        second.say()
        await second.until(lambda: second.received == question)
        second.say(anyio.EndOfStream())
        assert await read(client) == (b"", True)
        await client.aclose()
    assert failures == []


@pytest.mark.parametrize("steps", range(0, 40, 3))
async def test_nothing_is_lost_between_two_tries(steps: int) -> None:
    remotes = [Remote() for _ in range(4)]
    question = b"".join(b"%05d," % number for number in range(2000))
    async with relaying(*remotes) as (_, client, failures):
        async with anyio.create_task_group() as tasks:

            async def send() -> None:
                for start in range(0, len(question), 60):
                    await client.send(question[start : start + 60])
                await client.send_eof()

            tasks.start_soon(send)
            for remote in remotes[:-1]:
                before = len(remote.received)
                await remote.until(lambda remote=remote, before=before: len(remote.received) > before)  # type: ignore[misc]
                for _ in range(steps):
                    await checkpoint()
                remote.say(failure("gone"))
        last = remotes[-1]
        await last.until(lambda: last.ended)
        assert bytes(last.received) == question
        last.say(anyio.EndOfStream())
        assert await read(client) == (b"", True)
    assert failures == []


@pytest.mark.parametrize("why", ["answered", "too much", "another kind", "too often"])
async def test_what_is_not_tried_again(why: str) -> None:
    error = failure("reset" if why == "another kind" else "gone")
    remotes = [
        Remote(*([b"first"] if why == "answered" else []), *([error] if why == "too often" else [])) for _ in range(6)
    ]
    async with relaying(*remotes) as (_, client, failures):
        if why == "too much":
            await client.send(bytes(300_000))
            await remotes[0].until(lambda: len(remotes[0].received) == 300_000)
        elif why == "answered":
            assert await client.receive() == b"first"
        if why != "too often":
            remotes[0].say(error)
        assert await read(client) == (b"", False)
        assert [remote.closed for remote in remotes] == [True] * (5 if why == "too often" else 1) + [False] * (
            1 if why == "too often" else 5
        )
        for remote in remotes:
            remote.closed = True
    assert failures == [error]
