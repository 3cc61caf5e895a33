"""One local connection and the pod's end of it: real local sockets, and a pod that is the test."""

from __future__ import annotations

import random
import socket
import struct
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
import pytest
from anyio.abc import SocketAttribute, SocketStream
from anyio.lowlevel import checkpoint

from kubex_stream import ApiError, NotFound, PortForwardError
from kubex_stream.api.local import LocalConnection, LocalListener
from kubex_stream.api.relay import Relay
from kubex_stream.errors import PortForwardFailure
from kubex_stream.protocol.portforward import LEGACY_PROTOCOL, TUNNEL_PROTOCOL
from kubex_stream.session.conduit import Conduit, EndOfInput
from kubex_stream.session.forward_stream import PortForwardStream
from kubex_stream.statistics import SessionStatistics
from tests.session.memory import PATIENCE

pytestmark = pytest.mark.anyio


def failure(kind: PortForwardFailure) -> PortForwardError:
    return PortForwardError(f"it is {kind}", kind=kind, port=80)


class Remote(Conduit):
    """A pod's end.  What it says is fed by the test; an exception is how it ends."""

    def __init__(self, *says: bytes | Exception, takes: int | None = None) -> None:
        super().__init__(80, EndOfInput(0.0, cuts=False))
        self._says = deque(says)
        self._moved = anyio.Event()
        self.received = bytearray()
        self.ended = self.closed = False
        #: So many bytes are taken, and no more until it ends; None for all.
        self.takes = takes

    def say(self, *items: bytes | Exception) -> None:
        self._says.extend(items)
        self._move()

    def _move(self) -> None:
        self._moved.set()
        self._moved = anyio.Event()

    async def until(self, condition: Callable[[], bool]) -> None:
        with anyio.fail_after(PATIENCE):
            while not condition():
                await self._moved.wait()

    async def receive(self) -> bytes:
        await checkpoint()
        while not self._says:
            await self._moved.wait()
        item = self._says[0]
        if isinstance(item, Exception):
            raise item
        self._says.popleft()
        return item

    async def send(self, data: bytes | bytearray | memoryview) -> None:
        await checkpoint()
        view = memoryview(data)
        for start in range(0, len(view), 1000):
            self._check()
            self.received += view[start : start + 1000]
            self._move()
            while self.takes is not None and len(self.received) >= self.takes:
                await self._moved.wait()
                self._check()
            await checkpoint()

    def _check(self) -> None:
        if self._says and isinstance(self._says[0], Exception):
            raise failure("closed")

    async def send_eof(self) -> None:
        self.ended = True
        self._move()

    async def aclose(self) -> None:
        self.closed = True
        self._move()

    @property
    def statistics(self) -> SessionStatistics:
        raise NotImplementedError


Running = tuple[Relay, SocketStream, list[BaseException]]


@asynccontextmanager
async def relaying(*remotes: Remote | Exception, protocol: str = TUNNEL_PROTOCOL) -> AsyncGenerator[Running, None]:
    """A relay that opens these ends one after the other, its local client, and how it failed."""
    left = deque(remotes)

    async def connect() -> PortForwardStream:
        await checkpoint()
        remote = left.popleft()
        if isinstance(remote, Exception):
            raise remote
        return PortForwardStream(remote, pod="web-0", protocol=protocol, failed=lambda error: None)

    failures: list[BaseException] = []
    async with _local() as (local, client):
        relay = Relay(local, connect)

        async def run() -> None:
            try:
                await relay.run()
            except Exception as error:  # noqa: BLE001  # the test looks at it
                failures.append(error)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run)
            try:
                with anyio.fail_after(PATIENCE):
                    yield relay, client, failures
            except BaseException:
                tasks.cancel_scope.cancel()
                raise
    assert all(remote.closed for remote in remotes if isinstance(remote, Remote) and remote not in left)


@asynccontextmanager
async def _local() -> AsyncGenerator[tuple[LocalConnection, SocketStream], None]:
    listener = LocalListener("127.0.0.1", 0)
    try:
        async with await anyio.connect_tcp("127.0.0.1", listener.port) as client:
            local = await listener.accept()
            try:
                yield local, client
            finally:
                local.close()
    finally:
        listener.close()


async def read(client: SocketStream) -> tuple[bytes, bool]:
    """What the local client gets, and whether it ends in order."""
    data = b""
    while True:
        try:
            data += await client.receive()
        except anyio.EndOfStream:
            return data, True
        except anyio.BrokenResourceError:
            return data, False


def reset(client: SocketStream) -> Awaitable[None]:
    raw: socket.socket = client.extra(SocketAttribute.raw_socket)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return client.aclose()


async def test_bytes_go_both_ways_and_an_end_is_an_end() -> None:
    remote = Remote()
    async with relaying(remote) as (relay, client, failures):
        await client.send(b"question")
        await remote.until(lambda: remote.received == b"question")
        remote.say(b"answer", anyio.EndOfStream())
        assert await read(client) == (b"answer", True)
        await client.aclose()
    assert failures == []
    assert (relay.bytes_in, relay.bytes_out) == (6, 8)


async def test_the_local_end_is_passed_on_and_the_answer_still_comes() -> None:
    remote = Remote()
    async with relaying(remote) as (_, client, failures):
        await client.send(b"question")
        await client.send_eof()
        await remote.until(lambda: remote.ended)
        remote.say(b"answer", anyio.EndOfStream())
        assert await read(client) == (b"answer", True)
    assert bytes(remote.received) == b"question"
    assert failures == []


@pytest.mark.parametrize("size", [0, 10, 3_000_000])
async def test_a_failure_is_a_reset_after_everything_that_came(size: int) -> None:
    error, answer = failure("reset"), random.Random(1).randbytes(size)
    remote = Remote(*[answer[start : start + 100_000] for start in range(0, size, 100_000)], error)
    async with relaying(remote) as (relay, client, failures):
        assert await read(client) == (answer, False)
    assert failures == [error]
    assert relay.bytes_in == size


@pytest.mark.parametrize("error", [NotFound("no such pod", status_code=404), failure("refused"), ZeroDivisionError()], ids=repr)
async def test_an_end_that_cannot_be_made_is_a_reset(error: Exception) -> None:
    async with relaying(error) as (_, client, failures):
        assert await read(client) == (b"", False)
    assert failures == [error]


async def test_a_local_client_that_resets_ends_it_quietly() -> None:
    remote = Remote()
    async with relaying(remote) as (_, client, failures):
        await client.send(b"question")
        await remote.until(lambda: remote.received == b"question")
        await reset(client)
        await remote.until(lambda: remote.closed)
    assert failures == []
    assert not remote.ended


async def test_a_local_client_that_resets_while_much_comes_ends_it_quietly() -> None:
    remote = Remote(*[bytes(100_000)] * 100)
    async with relaying(remote) as (_, client, failures):
        await client.receive()
        await reset(client)
        await remote.until(lambda: remote.closed)
    assert failures == []


async def test_an_early_end_of_the_pods_side_reaches_a_client_that_is_still_sending() -> None:
    """What a client sends into a closed socket would make its kernel throw away the answer."""
    answer = bytes(200_000)
    remote = Remote(takes=1)
    async with relaying(remote) as (_, client, failures):
        await client.send(b"begin")
        await remote.until(lambda: bool(remote.received))
        remote.say(answer, anyio.EndOfStream())
        sent = anyio.Event()
        async with anyio.create_task_group() as tasks:

            async def send() -> None:
                for _ in range(100):
                    await client.send(bytes(10_000))
                    await checkpoint()
                await client.send_eof()
                sent.set()

            tasks.start_soon(send)
            await sent.wait()
            assert await read(client) == (answer, True)
    assert failures == []


async def test_a_connection_whose_pod_was_gone_is_tried_again_with_what_was_sent() -> None:
    first, second = Remote(), Remote()
    async with relaying(first, second) as (relay, client, failures):
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
    remotes = [Remote(*([b"first"] if why == "answered" else []), *([error] if why == "too often" else [])) for _ in range(6)]
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


@pytest.mark.parametrize("protocol", [TUNNEL_PROTOCOL, LEGACY_PROTOCOL])
async def test_a_cut_is_a_reset_and_a_failure_only_where_it_could_be_avoided(protocol: str) -> None:
    error = failure("cut")
    async with relaying(Remote(b"part", error), protocol=protocol) as (_, client, failures):
        assert await read(client) == (b"part", False)
    assert failures == ([error] if protocol == TUNNEL_PROTOCOL else [])


async def test_leaving_cuts_a_connection_at_once_even_one_that_takes_nothing() -> None:
    remote = Remote(*[bytes(100_000)] * 1000)
    async with _local() as (local, client):

        async def connect() -> PortForwardStream:
            return PortForwardStream(remote, pod="web-0", protocol=TUNNEL_PROTOCOL, failed=lambda error: None)

        relay = Relay(local, connect)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(relay.run)
            with anyio.fail_after(PATIENCE):
                while not relay.bytes_in:
                    await anyio.sleep(0.001)
            tasks.cancel_scope.cancel()
        assert remote.closed
        assert (await read(client))[1] is False


async def test_errors_of_the_server_are_not_tried_again() -> None:
    error = ApiError("no", status_code=500)
    async with relaying(error, Remote()) as (_, client, failures):
        assert await read(client) == (b"", False)
    assert failures == [error]
