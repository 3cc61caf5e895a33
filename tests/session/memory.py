"""A WebSocket and a client without a network: the test is the server.

The connection has only the abstract methods of the seam, so everything that passes over it works on every transport; each subclass adds one
thing.  It checks the seam's side of the contract too: one task receives at a time, and one sends.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final

import anyio
from anyio.lowlevel import checkpoint

from kubex_stream import BaseClient, ClientConfiguration, ClientOptions, ConnectionLost, Observer, Pods
from kubex_stream.client import PreparedRequest, Response, StreamedResponse, WebSocketConnection

V4: Final = "v4.channel.k8s.io"
V5: Final = "v5.channel.k8s.io"
SUCCESS: Final = b'\x03{"metadata":{},"status":"Success"}'
CLOSE_STDIN: Final = b"\xff\x00"
#: What a server sends first: the number of a channel, and nothing.
READY: Final = b"\x01"
#: No test waits longer than this for something that it has caused.
PATIENCE: Final = 10.0


def out(data: bytes) -> bytes:
    return b"\x01" + data


def err(data: bytes) -> bytes:
    return b"\x02" + data


def exited(code: int) -> bytes:
    """The Status of a process that ended with a code."""
    causes = [{"reason": "ExitCode", "message": str(code)}]
    status = {"status": "Failure", "message": "x", "reason": "NonZeroExitCode", "details": {"causes": causes}}
    return b"\x03" + json.dumps(status).encode()


def failed(message: str, code: int = 500) -> bytes:
    """The Status of a process that did not start."""
    status = {"status": "Failure", "message": message, "reason": "InternalError", "code": code}
    return b"\x03" + json.dumps(status).encode()


class MemoryConnection(WebSocketConnection):
    """An open WebSocket; what the server says is fed by the test.

    Messages that are there are received without suspending, as the queues of real libraries do it.

    :param messages: fed at once
    :param protocol: the negotiated one; None for the first that is offered
    """

    def __init__(self, *messages: bytes, protocol: str | None = None) -> None:
        self.protocol = protocol
        self.sent: list[bytes] = []
        #: How many messages have been received.
        self.taken = 0
        self.closed_with: int | None = None
        #: Whether it was ended without waiting for the peer's Close.
        self.cut = False
        self._incoming: deque[bytes | Exception] = deque(messages)
        self._closed = False
        self._receiving = self._sending = False
        self._moved = anyio.Event()

    # The server's side ------------------------------------------------------------------------------------------------

    def feed(self, *messages: bytes) -> None:
        """Let the server send."""
        self._incoming.extend(messages)
        self._move()

    def finish(self) -> None:
        """Let the server close in order."""
        self._incoming.append(StopAsyncIteration())
        self._move()

    def lose(self, message: str = "TCP ended", close_code: int | None = None) -> None:
        """Let the connection break."""
        self.fail(ConnectionLost(message, close_code=close_code))

    def fail(self, error: Exception) -> None:
        """Let receiving fail."""
        self._incoming.append(error)
        self._move()

    def on_message(self, message: bytes) -> None:
        """What the server does about a message."""

    @property
    def waiting(self) -> bool:
        """Whether somebody waits for the server."""
        return self._receiving and not self._incoming

    @property
    def left(self) -> int:
        """How many messages have not been received."""
        return sum(isinstance(message, bytes) for message in self._incoming)

    @property
    def stdin(self) -> bytes:
        """What was sent on stdin."""
        return b"".join(message[1:] for message in self.sent if message[:1] == b"\x00")

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for something that has to do with this connection."""
        with anyio.fail_after(PATIENCE):
            while not condition():
                await self._moved.wait()

    def _move(self) -> None:
        self._moved.set()
        self._moved = anyio.Event()

    # The seam ---------------------------------------------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def negotiated_subprotocol(self) -> str | None:
        return self.protocol

    async def send_bytes(self, data: bytes | bytearray | memoryview) -> None:
        assert not self._sending, "two tasks send at a time"
        self._sending = True
        try:
            await self.room()
            if self._closed:
                raise ConnectionLost("closed here")
            self.sent.append(bytes(data))
            self.on_message(bytes(data))
            self._move()
        finally:
            self._sending = False

    async def room(self) -> None:
        """Returns when there is room for a message."""
        await checkpoint()

    async def receive_bytes(self) -> bytes:
        assert not self._receiving, "two tasks receive at a time"
        self._receiving = True
        try:
            while not self._closed:
                message = self._next()
                if message is not None:
                    return message
                self._move()
                await self._moved.wait()
            raise ConnectionLost("closed here")
        finally:
            self._receiving = False

    def _next(self) -> bytes | None:
        if not self._incoming:
            return None
        message = self._incoming[0]
        if isinstance(message, Exception):
            raise message
        self._incoming.popleft()
        self.taken += 1
        self._move()
        return message

    async def close(self, code: int = 1000) -> None:
        if self._closed:
            return
        self._closed = True
        self._move()
        try:
            await checkpoint()
        except anyio.get_cancelled_exc_class():
            self.cut = True
            raise
        self.closed_with = code


class SteppingConnection(MemoryConnection):
    """Suspends before each message, so that they arrive one by one and every receive can be cancelled."""

    async def receive_bytes(self) -> bytes:
        await checkpoint()
        return await super().receive_bytes()


class NarrowConnection(MemoryConnection):
    """Takes a number of messages, then blocks until there is room again."""

    def __init__(self, *messages: bytes, protocol: str | None = None, room: int = 0) -> None:
        super().__init__(*messages, protocol=protocol)
        self._room = room
        self.blocked = False

    def widen(self, messages: int) -> None:
        self._room += messages
        self._move()

    async def room(self) -> None:
        await checkpoint()
        while self._room == 0:
            self.blocked = True
            self._move()
            await self._moved.wait()
        self.blocked = False
        self._room -= 1


class PingableConnection(MemoryConnection):
    """Has pings, and a server that answers them; a pong is seen by whoever receives, in its turn."""

    _PONG: Final = Exception("a pong")

    def __init__(self, *messages: bytes, protocol: str | None = None) -> None:
        super().__init__(*messages, protocol=protocol)
        self.pings = 0
        #: Whether the server answers.
        self.answers = True
        self._last_pong: float | None = None

    async def ping(self) -> None:
        self.pings += 1
        if self.answers:
            self._incoming.append(self._PONG)
        self._move()

    @property
    def last_pong(self) -> float | None:
        return self._last_pong

    def _next(self) -> bytes | None:
        while self._incoming and self._incoming[0] is self._PONG:
            self._incoming.popleft()
            self._last_pong = time.monotonic()
            self._move()
        return super()._next()

    async def pinged(self, times: int) -> None:
        """Wait for so many more pings."""
        goal = self.pings + times
        await self.until(lambda: self.pings >= goal)


class EchoConnection(PingableConnection):
    """A ``cat`` at the other end: echoes stdin, and ends with it."""

    def on_message(self, message: bytes) -> None:
        if message[:1] == b"\x00":
            self.feed(out(message[1:]))
        elif message == CLOSE_STDIN:
            self.feed(SUCCESS)
            self.finish()


class MemoryClient(BaseClient):
    """A client whose WebSockets are the test's."""

    event_loops = frozenset({"asyncio", "trio"})

    def __init__(
        self,
        *answers: MemoryConnection | Response | Exception,
        options: ClientOptions | None = None,
        observer: Observer | None = None,
    ) -> None:
        super().__init__(ClientConfiguration(url="http://127.0.0.1:1"), options, observer=observer)
        self._answers = deque(answers)
        #: Each handshake, and what it offered.
        self.handshakes: list[tuple[PreparedRequest, list[str]]] = []

    @property
    def offers(self) -> list[list[str]]:
        return [offer for _, offer in self.handshakes]

    async def start(self) -> None:
        return

    async def stop(self) -> None:
        return

    async def send_request(self, request: PreparedRequest) -> Response:
        raise NotImplementedError

    async def open_stream(self, request: PreparedRequest) -> StreamedResponse:
        raise NotImplementedError

    async def open_websocket(
        self, request: PreparedRequest, subprotocols: Sequence[str]
    ) -> WebSocketConnection | Response:
        await checkpoint()
        self.handshakes.append((request, list(subprotocols)))
        answer = self._answers.popleft()
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, MemoryConnection) and answer.protocol is None:
            answer.protocol = subprotocols[0]
        return answer


@asynccontextmanager
async def serving(
    *answers: MemoryConnection | Response | Exception,
    options: ClientOptions | None = None,
    observer: Observer | None = None,
) -> AsyncGenerator[Pods, None]:
    """The pods of a client that gets these answers, one for each handshake."""
    async with MemoryClient(*answers, options=options, observer=observer) as client:
        yield Pods(client)


#: The keeper looks every 10 ms with this, where the connection has pings.
BRISK: Final = ClientOptions(heartbeat=0.01, heartbeat_timeout=None)


def small(size: int = 1000, *, spool_limit: int = 1024**3, heartbeat_timeout: float | None = None) -> ClientOptions:
    """Options with small buffers and a keeper that looks every 10 ms."""
    return ClientOptions(
        heartbeat=0.01, heartbeat_timeout=heartbeat_timeout, stream_buffer_size=size, spool_limit=spool_limit
    )


async def read(stream: anyio.abc.ByteReceiveStream) -> bytes:
    """Everything up to the end."""
    return b"".join([chunk async for chunk in stream])
