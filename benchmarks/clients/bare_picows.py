"""picows' own callback, made into a loop that pulls: a deque, a future, and one copy of each frame."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import picows

from benchmarks.clients.base import CHUNK, ECHO, BarePath, Client
from kubex_stream.protocol.channels import V4, V5

__all__ = ("BarePicows",)


class _Pull(picows.WSListener):
    def __init__(self) -> None:
        self._frames: deque[bytes] = deque()
        self._waiting: asyncio.Future[None] | None = None
        self._over = False
        self._writable: asyncio.Future[None] | None = None

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        if frame.msg_type == picows.WSMsgType.BINARY:
            self._frames.append(frame.get_payload_as_bytes())
        elif frame.msg_type == picows.WSMsgType.CLOSE:
            self._over = True
            transport.send_close(picows.WSCloseCode.OK)
        self._wake()

    def on_ws_disconnected(self, transport: picows.WSTransport) -> None:  # noqa: ARG002
        self._over = True
        self._wake()
        self.resume_writing()

    def pause_writing(self) -> None:
        self._writable = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    async def receive(self) -> bytes | None:
        """The next message; None at the end."""
        while not self._frames:
            if self._over:
                return None
            self._waiting = asyncio.get_running_loop().create_future()
            await self._waiting
        return self._frames.popleft()

    async def drain(self) -> None:
        """Until more can be written."""
        if self._writable is not None:
            await self._writable


class BarePicows(Client):
    """The way of using picows that a pulling application comes to."""

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[None, None]:
        self._path = await BarePath.find(self.place)
        yield

    @asynccontextmanager
    async def _connect(
        self, command: Sequence[str], *, stdin: bool = False
    ) -> AsyncGenerator[tuple[picows.WSTransport, _Pull], None]:
        path = self._path
        protocol = V5.name if stdin else V4.name
        transport, pull = await picows.ws_connect(
            _Pull,
            path.exec(command, stdin=stdin, scheme="ws"),
            ssl_context=path.tls,
            extra_headers={**path.headers, "Sec-WebSocket-Protocol": protocol},
        )
        assert isinstance(pull, _Pull)
        try:
            yield transport, pull
        finally:
            transport.send_close(picows.WSCloseCode.OK)
            transport.disconnect()
            await transport.wait_disconnected()

    async def down(self, command: Sequence[str]) -> int:
        total = 0
        async with self._connect(command) as (_, pull):
            while (message := await pull.receive()) is not None:
                if message[0] == 1:
                    total += len(message) - 1
        return total

    async def run(self, command: Sequence[str]) -> int:
        parts = []
        async with self._connect(command) as (_, pull):
            while (message := await pull.receive()) is not None:
                if message[0] == 1:
                    parts.append(message[1:])
        return len(b"".join(parts))

    async def up(self, command: Sequence[str], total: int) -> int:
        chunk, sent = bytes(CHUNK), 0
        async with self._connect(command, stdin=True) as (transport, pull):
            while sent < total:
                transport.send(picows.WSMsgType.BINARY, b"\0" + chunk)
                sent += len(chunk)
                await pull.drain()
            transport.send(picows.WSMsgType.BINARY, b"\xff\0")
            while await pull.receive() is not None:
                pass
        return sent

    async def duplex(self, command: Sequence[str], total: int) -> int:
        chunk, got = bytes(CHUNK), 0
        async with self._connect(command, stdin=True) as (transport, pull):

            async def send() -> None:
                for _ in range(total // CHUNK):
                    transport.send(picows.WSMsgType.BINARY, b"\0" + chunk)
                    await pull.drain()
                    await asyncio.sleep(0)
                transport.send(picows.WSMsgType.BINARY, b"\xff\0")

            task = asyncio.create_task(send())
            while (message := await pull.receive()) is not None:
                if message[0] == 1:
                    got += len(message) - 1
            await task
        return got

    async def echo(self, command: Sequence[str], count: int) -> list[float]:
        times, data = [], bytes(ECHO)
        async with self._connect(command, stdin=True) as (transport, pull):
            for _ in range(count):
                begun = time.perf_counter()
                transport.send(picows.WSMsgType.BINARY, b"\0" + data)
                while len(await pull.receive() or b"over") < 2:
                    pass
                times.append(time.perf_counter() - begun)
        return times

    async def session(self, command: Sequence[str]) -> None:
        await self.down(command)

    @asynccontextmanager
    async def idle(self, command: Sequence[str]) -> AsyncGenerator[None, None]:
        async with self._connect(command):
            yield
