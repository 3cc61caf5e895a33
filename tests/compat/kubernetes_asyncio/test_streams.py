"""exec and attach through that package's generated APIs."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
from collections.abc import Awaitable
from typing import Any

import anyio
import pytest
from aiohttp import WSMsgType
from kubernetes_asyncio import client
from kubernetes_asyncio.stream import WsApiClient as TheirClient

from kubex_stream import ConnectionLost, HalfCloseUnsupported, StatusMissing, StdinBroken
from kubex_stream.compat.kubernetes_asyncio import (
    CLOSE_CHANNEL,
    ERROR_CHANNEL,
    RESIZE_CHANNEL,
    STDERR_CHANNEL,
    STDIN_CHANNEL,
    STDOUT_CHANNEL,
    WsApiClient,
    WsResponse,
    parse_error_data,
)
from kubex_stream.testing import OLD_PROTOCOLS, Behaviour, EmbeddedCluster, EmbeddedContainer, EmbeddedPod
from tests.compat.kubernetes_asyncio.conftest import Connect, configured

pytestmark = pytest.mark.anyio

SCRIPT = ["sh", "-c", "echo out; echo err >&2; exit 7"]
OUTPUT = {"stdout": True, "stderr": True}


def execute(v1: Any, command: object, **given: Any) -> Awaitable[Any]:
    return v1.connect_get_namespaced_pod_exec("demo", "default", command=command, **{**OUTPUT, **given})  # type: ignore[no-any-return]


async def channels(response: WsResponse) -> dict[int, bytes]:
    """Everything until the end, by channel."""
    seen: dict[int, bytes] = {}
    with anyio.fail_after(60), contextlib.suppress(EOFError):
        while True:
            channel, data = await response.read_channel()
            seen[channel] = seen.get(channel, b"") + data
    return seen


# Reading --------------------------------------------------------------------------------------------------------------


async def test_channels_and_the_exit_code(v1: Any) -> None:
    async with await execute(v1, SCRIPT) as response:
        assert isinstance(response, WsResponse)
        seen = await channels(response)
        assert response.closed
        with pytest.raises(EOFError, match="has ended"):
            await response.read_channel(timeout=0)
    status = parse_error_data(seen.pop(ERROR_CHANNEL))
    assert seen == {STDOUT_CHANNEL: b"out\n", STDERR_CHANNEL: b"err\n"}
    assert (status["reason"], int(status)) == ("NonZeroExitCode", 7)


async def test_a_post_is_as_good(v1: Any) -> None:
    async with await v1.connect_post_namespaced_pod_exec("demo", "default", command=SCRIPT, **OUTPUT) as response:
        assert (await channels(response))[STDOUT_CHANNEL] == b"out\n"


async def test_the_same_messages_as_from_the_package_itself(v1: Any, configuration: client.Configuration) -> None:
    async def messages(api: Any) -> dict[int, bytes]:
        seen: dict[int, bytes] = {}
        async with await execute(api, SCRIPT, _preload_content=False) as websocket:
            async for message in websocket:
                assert message.type is WSMsgType.BINARY
                if message.data[1:]:
                    seen[message.data[0]] = seen.get(message.data[0], b"") + message.data[1:]
        return seen

    async with TheirClient(configuration) as theirs:
        expected = await messages(client.CoreV1Api(theirs))
    assert await messages(v1) == expected
    assert theirs.parse_error_data(expected[ERROR_CHANNEL]) == parse_error_data(expected[ERROR_CHANNEL]) == 7


async def test_timeouts_and_cancellation_lose_nothing(v1: Any) -> None:
    chance, timeouts = random.Random(4), 0
    seen = {STDOUT_CHANNEL: b"", STDERR_CHANNEL: b"", ERROR_CHANNEL: b""}
    # It pauses for longer than any limit, so some calls do time out.
    loop = "i=0; while [ $i -lt 3000 ]; do i=$((i+1)); echo $i; echo $i >&2; [ $((i % 500)) -gt 0 ] || sleep 0.05; done"
    async with await execute(v1, ["sh", "-c", loop]) as response:
        while not seen[ERROR_CHANNEL]:
            try:
                limit = chance.choice([0, 0.0002, 0.001])
                if chance.random() < 0.5:
                    channel, data = await response.read_channel(timeout=limit)
                else:
                    channel, data = await asyncio.wait_for(response.read_channel(), limit or 0.0001)
            except asyncio.TimeoutError:  # noqa: UP041  (as their users write it)
                timeouts += 1
            else:
                seen[channel] += data
    expected = b"".join(b"%d\n" % number for number in range(1, 3001))
    assert timeouts
    assert seen[STDOUT_CHANNEL] == expected
    assert seen[STDERR_CHANNEL] == expected


async def test_a_slow_consumer_is_waited_for_whatever_the_heartbeat(connect: Connect) -> None:
    size = 8 * 1024 * 1024
    for stdin in (False, True):  # v4, v5
        async with connect(heartbeat=0.1) as api_client:
            response = await execute(client.CoreV1Api(api_client), ["head", "-c", str(size), "/dev/zero"], stdin=stdin)
            await response.read_channel()
            with anyio.move_on_after(1.5):
                await anyio.sleep_forever()  # many heartbeats
            seen = await channels(response)
            assert size - 65536 <= len(seen[STDOUT_CHANNEL]) < size
            assert parse_error_data(seen[ERROR_CHANNEL]) == 0


async def test_one_reads_at_a_time(v1: Any) -> None:
    async with await execute(v1, ["cat"], stdin=True) as response, anyio.create_task_group() as tasks:
        tasks.start_soon(response.read_channel)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(anyio.BusyResourceError):
            await response.read_channel()
        tasks.cancel_scope.cancel()


async def test_closing_ends_a_read_of_another_task(v1: Any) -> None:
    response = await execute(v1, ["cat"], stdin=True)
    ended = anyio.Event()

    async def read() -> None:
        with pytest.raises(anyio.ClosedResourceError):
            await response.read_channel()
        ended.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read)
        await anyio.wait_all_tasks_blocked()
        await response.close()
        with anyio.fail_after(10):
            await ended.wait()
    await response.close()
    for use in (response.read_channel(), response.write_channel(STDIN_CHANNEL, b"x"), response.send_bytes(b"\0x")):
        with pytest.raises(anyio.ClosedResourceError):
            await use
    assert (await response.receive()).type is WSMsgType.CLOSED


async def test_one_that_was_forgotten_lets_go_by_itself(connect: Connect) -> None:
    async with connect() as api_client:
        response = await execute(client.CoreV1Api(api_client), SCRIPT)
        await channels(response)
        assert not api_client._responses
        running = await execute(client.CoreV1Api(api_client), ["cat"], stdin=True)
    with pytest.raises(anyio.ClosedResourceError):
        await running.read_channel()  # closed with its client


# Writing --------------------------------------------------------------------------------------------------------------


async def test_stdin_and_its_end(v1: Any) -> None:
    data = random.Random(1).randbytes(3 * 1024 * 1024)
    async with await execute(v1, ["sha256sum"], stdin=True) as response:
        assert response.subprotocol == "v5.channel.k8s.io"
        await response.write_channel(STDIN_CHANNEL, data)
        await response.write_channel(CLOSE_CHANNEL, bytes([STDIN_CHANNEL]))
        seen = await channels(response)
        assert seen[STDOUT_CHANNEL].split()[0].decode() == hashlib.sha256(data).hexdigest()
        with pytest.raises(anyio.ClosedResourceError):
            await response.send_bytes(b"\0more")


async def test_as_a_websocket_of_aiohttp(v1: Any) -> None:
    websocket = await (await execute(v1, ["cat"], stdin=True, _preload_content=False))
    async with websocket:
        assert not websocket.closed
        await websocket.send_bytes(b"\0one\n")
        assert await websocket.receive_bytes(timeout=10) == b"\1one\n"
        await websocket.send_str(chr(STDIN_CHANNEL) + "two\n")
        assert (await websocket.receive(timeout=10)).data == b"\1two\n"
        await websocket.close_stdin()
        assert [message.data[0] async for message in websocket] == [ERROR_CHANNEL]
        assert (await websocket.receive()).type is WSMsgType.CLOSED


async def test_writing_after_the_end_is_a_broken_pipe(v1: Any) -> None:
    async with await execute(v1, ["true"], stdin=True) as response:
        await channels(response)
        with pytest.raises(StdinBroken):
            await response.write_channel(STDIN_CHANNEL, b"x")


async def test_without_v5_there_is_no_end_of_stdin(backend: str) -> None:
    with EmbeddedCluster(quiet=True, behaviour=Behaviour(protocols=OLD_PROTOCOLS)) as old:
        async with WsApiClient(configured(old), backend=backend) as api_client:
            async with await execute(client.CoreV1Api(api_client), ["cat"], stdin=True) as response:
                assert response.subprotocol == "v4.channel.k8s.io"
                with pytest.raises(HalfCloseUnsupported, match="v5"):
                    await response.close_stdin()
                await response.write_channel(STDIN_CHANNEL, b"still here\n")
                assert await response.read_channel(timeout=10) == (STDOUT_CHANNEL, b"still here\n")


async def test_the_subprotocol_can_be_chosen(v1: Any) -> None:
    headers = {"sec-websocket-protocol": "v4.channel.k8s.io"}
    async with await execute(v1, ["cat"], stdin=True, _headers=headers) as response:
        assert response.subprotocol == "v4.channel.k8s.io"


async def test_a_terminal_and_its_size(v1: Any) -> None:
    async with await execute(v1, ["sh"], stdin=True, tty=True) as response:
        await response.write_channel(RESIZE_CHANNEL, b'{"Width":0,"Height":0}')
        await response.write_channel(RESIZE_CHANNEL, b'{"Width":101,"Height":37}')
        await response.write_channel(STDIN_CHANNEL, b"stty size; exit 3\n")
        seen = await channels(response)
    assert b"37 101" in seen[STDOUT_CHANNEL]
    assert parse_error_data(seen[ERROR_CHANNEL]) == 3


async def test_attach(connect: Connect, cluster: EmbeddedCluster, backend: str) -> None:
    name = f"attach-{backend}"
    echo = EmbeddedContainer(command=["sh", "-c", "read line; echo heard $line"], stdin=True)
    cluster.add_pod(EmbeddedPod(name, containers=(echo,)))
    async with connect() as api_client:
        v1: Any = client.CoreV1Api(api_client)
        response = await v1.connect_get_namespaced_pod_attach(name, "default", stdin=True, **OUTPUT)
        assert isinstance(response, WsResponse)
        await response.write_channel(STDIN_CHANNEL, b"you\n")
        seen = await channels(response)
    cluster.delete_pod(name)
    assert seen[STDOUT_CHANNEL] == b"heard you\n"
    assert parse_error_data(seen[ERROR_CHANNEL])["status"] == "Success"


# Endings that are none ------------------------------------------------------------------------------------------------


async def test_a_broken_connection_is_no_end(backend: str) -> None:
    with EmbeddedCluster(quiet=True, behaviour=Behaviour(tcp_end_before_status=True)) as cut:
        async with WsApiClient(configured(cut), backend=backend) as api_client:
            v1: Any = client.CoreV1Api(api_client)
            response = await execute(v1, ["echo", "out"])
            assert await response.read_channel(timeout=10) == (STDOUT_CHANNEL, b"out\n")
            for _ in range(2):
                with pytest.raises(ConnectionLost):
                    await response.read_channel(timeout=10)
            async with await execute(v1, ["echo", "out"]) as websocket:
                with pytest.raises(ConnectionLost):
                    assert [message.data async for message in websocket] == []
        async with WsApiClient(configured(cut), backend=backend, preload=True) as api_client:
            with pytest.raises(ConnectionLost) as caught:
                await execute(client.CoreV1Api(api_client), ["echo", "out"])
            assert caught.value.stdout == b"out\n"


async def test_an_orderly_end_without_a_status_is_none_either(backend: str) -> None:
    with EmbeddedCluster(quiet=True, behaviour=Behaviour(close_code=1000)) as silent:
        async with WsApiClient(configured(silent), backend=backend) as api_client:
            response = await execute(client.CoreV1Api(api_client), ["echo", "out"])
            assert await response.read_channel(timeout=10) == (STDOUT_CHANNEL, b"out\n")
            with pytest.raises(StatusMissing):
                await response.read_channel(timeout=10)
