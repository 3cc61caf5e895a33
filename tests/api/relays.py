"""A relay with a real local socket and a pod that is the test."""

from __future__ import annotations

import socket
import struct
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
from anyio.abc import SocketAttribute, SocketStream
from anyio.lowlevel import checkpoint

from kubex_stream import PortForwardError
from kubex_stream.api.local import LocalConnection, LocalListener
from kubex_stream.api.relay import Relay
from kubex_stream.errors import PortForwardFailure
from kubex_stream.protocol.portforward import TUNNEL_PROTOCOL
from kubex_stream.session.conduit import Conduit, EndOfInput
from kubex_stream.session.forward_stream import PortForwardStream
from kubex_stream.statistics import SessionStatistics
from tests.session.memory import PATIENCE


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

    async def receive(self, size: int = 65536) -> bytes:  # noqa: ARG002  (as the test has cut it)
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
        return PortForwardStream(remote, pod="web-0", protocol=protocol, failed=lambda _: None)

    failures: list[BaseException] = []
    async with local_pair() as (local, client):
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
async def local_pair() -> AsyncGenerator[tuple[LocalConnection, SocketStream], None]:
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
