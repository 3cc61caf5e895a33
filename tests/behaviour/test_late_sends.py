"""A process that ends while the application is busy has told how, and a send that comes too late must not lose that."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress

import anyio
import pytest

from kubex_stream import ConnectionLost, Pods, StdinBroken
from kubex_stream.testing import ScriptedPeer
from tests.conftest import MakeClient
from tests.known.wire import CLOSE, READY, exited, out, serving

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("size", [1, 300_000], ids=["little", "much"])
async def test_a_status_that_has_come_survives_a_late_send(make_client: MakeClient, tls: bool, size: int) -> None:
    asked, ended = threading.Event(), threading.Event()

    async def script(peer: ScriptedPeer) -> None:
        await peer.send(READY, out(b"?"))
        await anyio.to_thread.run_sync(asked.wait, 20)
        await peer.send(exited(3))
        await peer.send_frame(CLOSE, b"\x03\xe8")
        await peer.reset()  # as the kernel does where stdin has not been read
        ended.set()

    async with serving(script, tls=tls) as server, make_client(server.configuration) as client:
        async with Pods(client).exec.stream("one", ["x"], stdin=True) as process:
            assert await process.stdout.receive() == b"?"
            asked.set()
            # Busy, so that the event loop has seen nothing of what came when the send begins.
            assert ended.wait(20)
            with suppress(StdinBroken):
                for _ in range(20):
                    await process.stdin.send(bytes(size))
            assert await process.wait() == 3


async def test_a_send_that_is_blocked_ends_with_the_session(make_client: MakeClient) -> None:
    """The server ends its side while it takes nothing more, and keeps the connection."""
    blocked, over = threading.Event(), threading.Event()

    async def script(peer: ScriptedPeer) -> None:
        await peer.send(READY)
        await anyio.to_thread.run_sync(blocked.wait, 20)
        peer.connection.socket.shutdown(socket.SHUT_WR)
        await anyio.to_thread.run_sync(over.wait, 20)

    async with serving(script) as server, make_client(server.configuration) as client:
        async with Pods(client).exec.stream("one", ["x"], stdin=True) as process, anyio.create_task_group() as tasks:

            async def read() -> None:
                with pytest.raises(ConnectionLost):
                    await process.wait()

            async def send() -> None:
                with pytest.raises(StdinBroken), anyio.fail_after(10):
                    await process.stdin.send(bytes(200_000_000))
                over.set()

            tasks.start_soon(read)
            tasks.start_soon(send)
            await anyio.wait_all_tasks_blocked()
            blocked.set()
