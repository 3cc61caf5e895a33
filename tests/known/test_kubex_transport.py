"""Transports: what went wrong in the client whose names this library keeps, by the numbers of the table in README.md."""

from __future__ import annotations

import asyncio
import json
import traceback
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import anyio
import anyio.to_thread
import pytest

from kubex_stream import (
    ApiError,
    ConnectionFailed,
    ConnectionLost,
    Forbidden,
    Pods,
    StatusMissing,
    StdinBroken,
    StreamTimeout,
    Timeout,
    WebSocketConnection,
    create_client,
)
from kubex_stream.client import Request
from kubex_stream.client.event_loops import running_event_loop
from kubex_stream.testing import Behaviour, EmbeddedCluster, ScriptedPeer, ScriptedServer
from tests.conftest import LOOPS, Runtime
from tests.known.conftest import OpenPods
from tests.known.wire import READY, V4, V5, finish, out, read_on, serving

SECRET: Final = "--password=hunter2"


@pytest.mark.anyio
async def test_a_blocked_write_could_not_be_cancelled(open_pods: OpenPods) -> None:
    """kubex T-1: the peer had stopped reading, and the time limit waited for a close that was shielded and could not be written."""

    async def script(_peer: ScriptedPeer) -> None:
        await asyncio.Event().wait()  # reads nothing

    async with serving(script) as server, open_pods(server.configuration, close_timeout=0.1) as pods:
        with anyio.fail_after(20), pytest.raises(StreamTimeout):
            await pods.exec.run("one", ["x"], input=bytes(32 * 1024 * 1024), timeout=0.2)


@pytest.mark.anyio
async def test_a_websocket_belonged_to_the_task_that_opened_it(open_pods: OpenPods) -> None:
    """kubex T-2: a hidden task group stayed in whoever opened a WebSocket, so neither a time limit nor another task could leave it."""
    async with serving(read_on) as server, open_pods(server.configuration, close_timeout=0.1) as pods:
        opened: list[WebSocketConnection] = []

        async def open_one() -> None:
            with anyio.fail_after(20):
                opened.append(await pods.client.connect_websocket(Request(path="/x"), [V4]))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(open_one)
        await opened[0].close()
        assert opened[0].closed


@pytest.mark.anyio
async def test_exceptions_of_the_libraries_escaped(open_pods: OpenPods) -> None:
    """kubex T-4: sending after the peer's Close, and time limits of plain requests, raised what the library underneath raises."""

    async def script(peer: ScriptedPeer) -> None:
        await peer.close()

    async with serving(script) as server, open_pods(server.configuration) as pods:
        async with await pods.client.connect_websocket(Request(path="/x"), [V4]) as connection:
            with pytest.raises(StopAsyncIteration):
                await connection.receive_bytes()
            with pytest.raises(ConnectionLost):
                await connection.send_bytes(b"x")
        async with pods.exec.stream("one", ["x"], stdin=True) as process:
            with pytest.raises(StatusMissing):
                await process.wait()
            with pytest.raises(StdinBroken):
                await process.stdin.send(b"x")
    async with EmbeddedCluster(behaviour=Behaviour(hang_requests=True), quiet=True) as cluster:
        async with open_pods(cluster.configuration) as pods:
            for timeout in (0.1, Timeout(read=0.1)):
                with pytest.raises(StreamTimeout):
                    await pods.get("demo", request_timeout=timeout)
    async with open_pods(server.configuration) as pods:
        with pytest.raises(ConnectionFailed):
            await pods.get("demo")


@pytest.mark.anyio
async def test_the_answer_to_a_refused_handshake_was_thrown_away(open_pods: OpenPods) -> None:
    """kubex T-5: a 403 was no Forbidden, had no Status, and its text held the whole command line."""
    async with (
        EmbeddedCluster(behaviour=Behaviour(rbac="nobody"), quiet=True) as cluster,
        open_pods(cluster.configuration) as pods,
    ):
        with pytest.raises(Forbidden) as raised:
            await run_secretly(pods)
    assert raised.value.status is not None
    assert (raised.value.status_code, raised.value.status.code, raised.value.status.reason) == (403, 403, "Forbidden")
    assert raised.value.status.message in str(raised.value)
    assert "hunter2" not in "".join(traceback.format_exception(raised.value))


async def run_secretly(pods: Pods) -> None:
    """Apart, so that a traceback shows this line and not the secret."""
    await pods.exec.run("demo", ["mysql", SECRET])


@pytest.mark.anyio
async def test_the_path_of_the_servers_url_was_lost(open_pods: OpenPods) -> None:
    """kubex T-6: behind Rancher and the like the path prefix was dropped, or an exception."""
    async with (
        EmbeddedCluster(prefix="/k8s/clusters/c-abc", quiet=True) as cluster,
        open_pods(cluster.configuration) as pods,
    ):
        assert (await pods.exec.run("demo", ["echo", "hi"])).stdout == b"hi\n"
        assert (await pods.get("demo"))["metadata"]["name"] == "demo"
        assert all(request.path.startswith("/k8s/clusters/c-abc/api/v1/") for request in cluster.requests)


@pytest.mark.anyio
async def test_a_total_timeout_was_not_total(open_pods: OpenPods) -> None:
    """kubex T-9: an answer that drips, each drop in time, outlived its total on one backend."""

    async def drip(peer: ScriptedPeer) -> None:
        await peer.send_raw(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        for _ in range(1000):
            await peer.send_raw(b" ")
            await asyncio.sleep(0.01)

    async with ScriptedServer(drip, handshake=False) as server, open_pods(server.configuration) as pods:
        with pytest.raises(StreamTimeout):
            await pods.get("one", request_timeout=Timeout(total=0.2, read=5))


@pytest.mark.anyio
async def test_line_separators_inside_of_an_event_broke_a_watch(open_pods: OpenPods) -> None:
    """kubex T-11: lines of a watch were cut at NEL and U+2028 as well, and so were no JSON any more."""
    pod = {"metadata": {"name": "one", "resourceVersion": "7", "annotations": {"note": "a\x85b\u2028c\rd"}}}
    changed = {**pod, "status": {"phase": "Running"}}
    body = json.dumps(pod).encode()
    event = json.dumps({"type": "MODIFIED", "object": changed}, ensure_ascii=False).encode() + b"\n"

    async def script(peer: ScriptedPeer) -> None:
        answer = event if peer.request.flag("watch") else body
        await peer.send_raw(
            b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(answer) + answer
        )
        await peer.end()

    async with ScriptedServer(script, handshake=False) as server, open_pods(server.configuration) as pods:
        assert await pods.wait("one", "Running", timeout=20) == changed


@pytest.mark.anyio
async def test_an_error_without_a_content_type_was_a_key_error(open_pods: OpenPods) -> None:
    """kubex T-12: an error whose answer has no Content-Type was a KeyError instead."""

    async def script(peer: ScriptedPeer) -> None:
        await peer.send_raw(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 4\r\n\r\nboom")
        await read_all(peer)

    async def read_all(peer: ScriptedPeer) -> None:
        while await peer.connection.receive():
            pass

    async with ScriptedServer(script, handshake=False) as server, open_pods(server.configuration) as pods:
        with pytest.raises(ApiError, match="502 Bad Gateway: boom"):
            await pods.get("one")
        with pytest.raises(ApiError, match="502 Bad Gateway: boom"):
            await pods.exec.run("one", ["x"])


def tls_of(runtime: Runtime) -> bool:
    """uvloop's TLS tells its event loop of an error when a connection is ended in mid-handshake, whichever library does it."""
    return runtime.loop != "uvloop"


async def cancelled_after(seconds: float, work: Callable[[], Awaitable[object]]) -> None:
    """Cancel some work by a cancel scope, and, where there is asyncio, in asyncio's own way, which no scope can shield from."""
    with anyio.move_on_after(seconds):
        await work()
    if running_event_loop() == "asyncio":
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await work()


@pytest.mark.anyio
async def test_a_cancelled_handshake_leaked_its_connection(open_pods: OpenPods, runtime: Runtime) -> None:
    """kubex T-13: a cancellation between the 101 and the taking over of the connection left it open for ever."""
    async with (
        EmbeddedCluster(tls=tls_of(runtime), quiet=True) as cluster,
        open_pods(cluster.configuration, close_timeout=0.1) as pods,
    ):
        for number in range(60):
            await cancelled_after(number * 0.0004, lambda: pods.exec.run("demo", ["true"]))
        await anyio.to_thread.run_sync(cluster.wait_for, lambda: cluster.connections == 0)


@pytest.mark.anyio
async def test_cancelled_requests_filled_the_pool(open_pods: OpenPods, runtime: Runtime) -> None:
    """kubex T-13: connections that a cancellation left over counted against the pool, until nothing could be sent any more."""
    async with (
        EmbeddedCluster(tls=tls_of(runtime), quiet=True) as cluster,
        open_pods(cluster.configuration, pool_size=1, keep_alive=False, timeout=None) as pods,
    ):
        for number in range(150):
            await cancelled_after(number * 0.0001, lambda: pods.get("demo"))
        with anyio.fail_after(10):
            assert (await pods.get("demo"))["metadata"]["name"] == "demo"
        await anyio.to_thread.run_sync(cluster.wait_for, lambda: cluster.connections == 0)


def test_a_client_needed_a_running_loop_to_be_made(cluster: EmbeddedCluster, backend: str, runtime: Runtime) -> None:
    """kubex T-14: a client could be made inside of an event loop only."""
    client = create_client(cluster.configuration, backend=backend)

    async def main() -> bytes:
        async with client:
            return (await Pods(client).exec.run("demo", ["echo", "hi"])).stdout

    name, options = LOOPS[runtime.loop]
    assert anyio.run(main, backend=name, backend_options=options) == b"hi\n"


@pytest.mark.anyio
@pytest.mark.parametrize("protocol", [V4, V5])
async def test_a_message_above_the_default_limit_of_a_library(open_pods: OpenPods, protocol: str) -> None:
    """kubex T-8: what was called a limit was none on one backend; here 1 MiB passes everywhere and the option is one everywhere."""

    async def script(peer: ScriptedPeer) -> None:
        await peer.send(READY, out(bytes(1024 * 1024)))
        await finish(peer)

    async with serving(script) as server, open_pods(server.configuration) as pods:
        assert len((await pods.exec.run("one", ["x"], protocols=[protocol])).stdout) == 1024 * 1024
