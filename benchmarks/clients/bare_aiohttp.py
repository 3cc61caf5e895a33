"""aiohttp's own loop and nothing else: the least that a library on top of it can cost."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final

import aiohttp
from yarl import URL

from benchmarks.clients.base import CHUNK, ECHO, BarePath, Client
from kubex_stream.protocol.channels import V4, V5

__all__ = ("BareAioHttp",)

#: Bytes of a line beyond which its reader refuses one, halved.
_LONG: Final = 2 * 2**20


class BareAioHttp(Client):
    """``ws.receive()`` in a loop, without compression, limits and heartbeat; and of what is no WebSocket, its lines."""

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[None, None]:
        self._path = await BarePath.find(self.place)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, force_close=True)) as self._session:
            yield

    def _connect(
        self, command: Sequence[str], *, stdin: bool = False
    ) -> AbstractAsyncContextManager[aiohttp.ClientWebSocketResponse]:
        path = self._path
        return self._session.ws_connect(
            URL(path.exec(command, stdin=stdin), encoded=True),
            protocols=[V5.name] if stdin else [V4.name],
            headers=path.headers,
            ssl=path.tls or True,
            compress=0,
            max_msg_size=0,
        )

    async def down(self, command: Sequence[str]) -> int:
        total = 0
        async with self._connect(command) as ws:
            while (message := await ws.receive()).type is aiohttp.WSMsgType.BINARY:
                if message.data[0] == 1:
                    total += len(message.data) - 1
        return total

    async def run(self, command: Sequence[str]) -> int:
        parts = []
        async with self._connect(command) as ws:
            while (message := await ws.receive()).type is aiohttp.WSMsgType.BINARY:
                if message.data[0] == 1:
                    parts.append(message.data[1:])
        return len(b"".join(parts))

    async def up(self, command: Sequence[str], total: int) -> int:
        chunk, sent = bytes(CHUNK), 0
        async with self._connect(command, stdin=True) as ws:
            while sent < total:
                await ws.send_bytes(b"\0" + chunk)
                sent += len(chunk)
            await ws.send_bytes(b"\xff\0")
            while (await ws.receive()).type is aiohttp.WSMsgType.BINARY:
                pass
        return sent

    async def duplex(self, command: Sequence[str], total: int) -> int:
        chunk, got = bytes(CHUNK), 0
        async with self._connect(command, stdin=True) as ws:

            async def send() -> None:
                for _ in range(total // CHUNK):
                    await ws.send_bytes(b"\0" + chunk)
                await ws.send_bytes(b"\xff\0")

            task = asyncio.create_task(send())
            while (message := await ws.receive()).type is aiohttp.WSMsgType.BINARY:
                if message.data[0] == 1:
                    got += len(message.data) - 1
            await task
        return got

    async def echo(self, command: Sequence[str], count: int) -> list[float]:
        times, data = [], bytes(ECHO)
        async with self._connect(command, stdin=True) as ws:
            for _ in range(count):
                begun = time.perf_counter()
                await ws.send_bytes(b"\0" + data)
                while len((await ws.receive()).data) < 2:  # servers may begin with an empty message
                    pass
                times.append(time.perf_counter() - begun)
        return times

    async def session(self, command: Sequence[str]) -> None:
        await self.down(command)

    @asynccontextmanager
    async def idle(self, command: Sequence[str]) -> AsyncGenerator[None, None]:
        async with self._connect(command):
            yield

    def _get(self, url: str, **options: Any) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        path = self._path
        address = URL(url, encoded=True)
        return self._session.get(address, headers=path.headers, ssl=path.tls or True, timeout=_NO_LIMIT, **options)

    async def log_read(self, lines: int) -> int:
        async with self._get(self._path.log(lines, follow=False)) as response:
            return len(await response.read())

    async def log_follow(self, lines: int) -> int:
        got = 0
        async with self._get(self._path.log(lines, follow=True)) as response:
            async for _ in response.content:
                got += 1
        return got

    async def watch(self, resource: str, events: int) -> int:
        options = {"read_bufsize": _LONG} if resource == "configmaps" else {}
        async with self._get(self._path.watch(resource, events), **options) as response:
            for _ in range(events):
                json.loads(await response.content.readline())
        return events


_NO_LIMIT: Final = aiohttp.ClientTimeout(total=None)
