"""httpx-ws and nothing else: ``aconnect_ws`` and ``receive_bytes``, with its defaults, and tuned as far as its options go."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import anyio
import httpx
import httpx_ws

from benchmarks.clients.base import CHUNK, ECHO, BarePath, Client
from kubex_stream.protocol.channels import V4, V5

__all__ = ("BareHttpx", "TunedHttpx")


class BareHttpx(Client):
    """Its defaults."""

    settings: ClassVar[dict[str, Any]] = {}

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[None, None]:
        self._path = await BarePath.find(self.place)
        limits = httpx.Limits(max_connections=None)
        verify = True if self._path.tls is None else self._path.tls
        async with httpx.AsyncClient(verify=verify, limits=limits, trust_env=False) as self._client:
            yield

    @asynccontextmanager
    async def _connect(
        self, command: Sequence[str], *, stdin: bool = False
    ) -> AsyncGenerator[httpx_ws.AsyncWebSocketSession, None]:
        path = self._path
        async with httpx_ws.aconnect_ws(
            path.exec(command, stdin=stdin),
            self._client,
            subprotocols=[V5.name if stdin else V4.name],
            headers=path.headers,
            **self.settings,
        ) as ws:
            yield ws

    async def down(self, command: Sequence[str]) -> int:
        total = 0
        async with self._connect(command) as ws:
            while (message := await _receive(ws)) is not None:
                if message[:1] == b"\1":
                    total += len(message) - 1
        return total

    async def run(self, command: Sequence[str]) -> int:
        parts = []
        async with self._connect(command) as ws:
            while (message := await _receive(ws)) is not None:
                if message[:1] == b"\1":
                    parts.append(message[1:])
        return len(b"".join(parts))

    async def up(self, command: Sequence[str], total: int) -> int:
        chunk, sent = bytes(CHUNK), 0
        async with self._connect(command, stdin=True) as ws:
            while sent < total:
                await ws.send_bytes(b"\0" + chunk)
                sent += len(chunk)
            await ws.send_bytes(b"\xff\0")
            while await _receive(ws) is not None:
                pass
        return sent

    async def duplex(self, command: Sequence[str], total: int) -> int:
        chunk, got = bytes(CHUNK), 0
        async with self._connect(command, stdin=True) as ws, anyio.create_task_group() as tasks:

            async def send() -> None:
                for _ in range(total // CHUNK):
                    await ws.send_bytes(b"\0" + chunk)
                await ws.send_bytes(b"\xff\0")

            tasks.start_soon(send)
            while (message := await _receive(ws)) is not None:
                if message[:1] == b"\1":
                    got += len(message) - 1
        return got

    async def echo(self, command: Sequence[str], count: int) -> list[float]:
        times, data = [], bytes(ECHO)
        async with self._connect(command, stdin=True) as ws:
            for _ in range(count):
                begun = time.perf_counter()
                await ws.send_bytes(b"\0" + data)
                while len(await ws.receive_bytes()) < 2:
                    pass
                times.append(time.perf_counter() - begun)
        return times

    async def session(self, command: Sequence[str]) -> None:
        await self.down(command)

    @asynccontextmanager
    async def idle(self, command: Sequence[str]) -> AsyncGenerator[None, None]:
        async with self._connect(command):
            yield

    async def log_read(self, lines: int) -> int:
        response = await self._client.get(self._path.log(lines, follow=False), headers=self._path.headers)
        return len(response.content)

    async def log_follow(self, lines: int) -> int:
        got, url = 0, self._path.log(lines, follow=True)
        async with self._client.stream("GET", url, headers=self._path.headers) as response:
            async for _ in response.aiter_lines():
                got += 1
        return got

    async def watch(self, resource: str, events: int) -> int:
        got, url = 0, self._path.watch(resource, events)
        async with self._client.stream("GET", url, headers=self._path.headers) as response:
            async for line in response.aiter_lines():
                json.loads(line)
                got += 1
                if got == events:
                    break
        return got


async def _receive(ws: httpx_ws.AsyncWebSocketSession) -> bytes | None:
    try:
        return await ws.receive_bytes()
    except (httpx_ws.WebSocketDisconnect, httpx_ws.WebSocketNetworkError):
        return None


class TunedHttpx(BareHttpx):
    """Reads of 1 MiB, no keep-alive task."""

    settings: ClassVar[dict[str, Any]] = {"max_message_size_bytes": 2**20, "keepalive_ping_interval_seconds": None}
