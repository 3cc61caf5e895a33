"""Leaving a WebSocket at once, and closing the client under it."""

from __future__ import annotations

import gc
import socket
import ssl
import threading
from contextlib import suppress

import anyio
import anyio.to_thread
import pytest

from kubex_stream.client import WebSocketConnection
from kubex_stream.errors import ConnectionLost, ProtocolViolation
from kubex_stream.testing.conformance.base import Conformance, Connect, Contexts, OpenClient, Prepare
from kubex_stream.testing.conformance.claims import needs
from kubex_stream.testing.conformance.peers import Deaf, Recorder, happens
from kubex_stream.testing.conformance.raw import Peer, RawServer, close_frame, frame

__all__ = ("Leaving",)


class Leaving(Conformance):
    """Leaving a WebSocket at once, and closing the client under it."""

    @needs("abort")
    async def test_abort_sends_no_close(self, connect: Connect, tls: Contexts) -> None:
        recorder = Recorder()
        with RawServer(recorder, context=tls["server"]) as server:
            async with connect(server.url, tls["client"]) as websocket:
                await websocket.send_bytes(b"last")
                await anyio.sleep(0.05)
                await websocket.abort()
                assert websocket.closed
                await happens(recorder.ended)
                await websocket.abort()
                await websocket.close()
                with pytest.raises(ConnectionLost):
                    await websocket.receive_bytes()
                with pytest.raises(ConnectionLost):
                    await websocket.send_bytes(b"x")
        assert [item.payload for item in recorder.frames] == [b"last"]

    async def test_abort_frees_blocked_tasks(self, connect: Connect, tls: Contexts) -> None:
        deaf = Deaf()
        with RawServer(deaf, context=tls["server"], receive_buffer=4096) as server:
            async with connect(server.url, tls["client"]) as websocket:
                sent: list[int] = []

                async def send_counted() -> None:
                    while True:
                        await websocket.send_bytes(b"x" * 65536)
                        sent.append(65536)

                async def send() -> None:
                    with pytest.raises(ConnectionLost):
                        await send_counted()

                async def receive() -> None:
                    with pytest.raises(ConnectionLost):
                        await websocket.receive_bytes()

                with anyio.fail_after(10):
                    async with anyio.create_task_group() as group:
                        group.start_soon(send)
                        group.start_soon(receive)
                        await anyio.sleep(0.3)
                        before = len(sent)
                        await websocket.abort()
                # The one that was blocked has not returned as if it had been sent.
                assert len(sent) == before
            deaf.look.set()

    async def test_abort_does_not_wait(self, connect: Connect, tls: Contexts) -> None:
        deaf = Deaf()
        with RawServer(deaf, context=tls["server"], receive_buffer=4096) as server:
            async with connect(server.url, tls["client"]) as websocket:
                with anyio.move_on_after(0.3):
                    while True:
                        await websocket.send_bytes(b"x" * 65536)
                with anyio.CancelScope() as scope:
                    scope.cancel()
                    await websocket.abort()
                assert websocket.closed
            deaf.look.set()

    async def test_closing_the_client_ends_what_is_open(self, client_for: OpenClient, prepare: Prepare) -> None:
        recorder = Recorder()
        with RawServer(recorder) as server:
            async with client_for() as client:
                websocket = await client.open_websocket(prepare(server.url), ["v4.channel.k8s.io"])
            await happens(recorder.ended)
            assert isinstance(websocket, WebSocketConnection)
            with pytest.raises(ConnectionLost):
                await websocket.send_bytes(b"x")
            assert websocket.closed
            # What is left over would say so now.
            del websocket
            gc.collect()

    async def test_a_hundred_and_more_at_once(self, client_for: OpenClient, prepare: Prepare) -> None:
        """None of them counts against the pool."""
        with RawServer(Recorder()) as server:
            async with client_for(pool_size=2, pool_size_per_host=...) as client:
                websockets = []
                with anyio.fail_after(30):
                    for _ in range(120):
                        websockets.append(await client.open_websocket(prepare(server.url), ["v4.channel.k8s.io"]))
                    async with anyio.create_task_group() as group:
                        for websocket in websockets:
                            group.start_soon(websocket.close)  # type: ignore[union-attr]

    @needs("tls")
    @pytest.mark.parametrize("until", ["last", "end", "violation"])
    async def test_leaving_at_the_moment_of_the_last_arrival(
        self, connect: Connect, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, until: str
    ) -> None:
        """Behind a stall, where TLS hands out what it has kept together with its end: who is told of that may end TCP at once."""
        # Some of these have the end arrive with the last of what was kept.
        counts = range(18, 32, 3)
        remaining = iter(counts)
        ending = b"\x83\0" if until == "violation" else close_frame(1000)  # 0x3 is no frame's
        sent = threading.Semaphore(0)

        def handle(peer: Peer) -> None:
            peer.accept()
            peer.send(frame(b"x" * 32768) * next(remaining) + ending)
            peer.sock.shutdown(socket.SHUT_WR)  # of TCP, without TLS's goodbye
            sent.release()
            peer.wait_for_tcp_end()

        with RawServer(handle, context=server_tls) as server:
            for count in counts:
                async with connect(server.url, client_tls) as websocket:
                    await anyio.to_thread.run_sync(
                        sent.acquire, True, 2.0
                    )  # what a small buffer keeps back comes later
                    await anyio.sleep(0.05)  # the transport may read ahead
                    received = 0
                    with suppress(StopAsyncIteration, ProtocolViolation):
                        while until != "last" or received < count:
                            await websocket.receive_bytes()
                            received += 1
                    await websocket.abort()
                    assert received == count
