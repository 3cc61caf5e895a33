"""How forwarded connections end on a real cluster: half-close, which containerd does not carry, and tasks that leave.

containerd passes no end of one direction on to the pod.  When one direction is over, the other one has a second, then both are cut; the
answer to an end of input never comes.  So the library keeps that end back until the pod has been silent for a while, and says what it cannot
know to be whole.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import anyio
import pytest
from anyio.abc import SocketStream

from kubex_stream import Pods, PortForwarder, PortForwardError, PortForwardStream
from tests.cluster.conftest import Connect, Way, ending, local_connection, on_each, read_all, read_exactly
from tests.conftest import Runtime

pytestmark = pytest.mark.anyio

#: More than everything between us and the pod can hold, so that a reader who pauses makes it last.
SIZE = 48 * 1024 * 1024


# Half-close ---------------------------------------------------------------------------------------------------------------


async def everything_back(pods: Pods, way: Way) -> None:
    """An echo of what was sent before the end is complete, whether the end arrives or not."""
    data = os.urandom(1_000_000)
    async with pods.portforward.connect("deploy/ports", 8080, protocol=way.protocol) as stream:
        await stream.send(data)
        await stream.send_eof()
        received, error = await ending(stream)
    assert received == data
    # The older protocol has no such end: the connection had to be closed, and what might have come after is not known.
    assert (error.kind if error else None) == (None if way.tunnel else "cut")


async def nothing_after_the_end(pods: Pods, way: Way) -> None:
    """8082 answers after the end of input, which containerd keeps from it; a server that reads until then never answers."""
    async with pods.portforward.connect("deploy/ports", 8082, protocol=way.protocol) as stream:
        await stream.send(b"what is the digest of this?")
        await stream.send_eof()
        with pytest.raises(anyio.ClosedResourceError):
            await stream.send(b"more")
        received, error = await ending(stream)
    assert received == b""
    assert error is None or error.kind == "cut"


async def an_answer_under_way_is_whole(pods: Pods, way: Way) -> None:
    """The end is kept back while the pod is not silent, however long the reader takes."""
    async with pods.portforward.connect("deploy/ports", 8083, protocol=way.protocol) as stream:
        await stream.send(b"%d\n" % SIZE)
        await stream.send_eof()
        total, paused = 0, 0
        with suppress(anyio.EndOfStream):
            while True:
                total += len(await stream.receive(1024 * 1024))
                if total > SIZE * paused // 4:
                    paused += 1
                    await anyio.sleep(0.6)
    assert total == SIZE


async def a_cut_is_an_error(pods: Pods, way: Way) -> None:
    """With the end passed on at once, an answer that takes longer than containerd's second is cut, and that is not told as an end."""
    async with pods.portforward.connect(
        "deploy/ports", 8083, protocol=way.protocol, half_close_delay=0 if way.tunnel else 0.5
    ) as stream:
        await stream.send(b"%d\n" % SIZE)
        await stream.send_eof()
        received = await stream.receive()
        await anyio.sleep(2.5)
        rest, error = await ending(stream)
    if way.tunnel:
        assert 0 < len(received) + len(rest) < SIZE
        assert error is not None
        assert error.kind == "cut"
        assert "half_close_delay" in str(error)
    else:
        # Here the end is only ever a closed connection, and that is put off for as long as something is there to be read.
        assert (len(received) + len(rest), error) == (SIZE, None)


async def through_a_listener(pods: Pods, way: Way) -> None:
    """A local client that shuts its write side gets what is under way, and an end where the wire has told one."""
    async with (
        pods.portforward.listen("svc/ports", [":80"], protocol=way.protocol) as (echo,),
        local_connection(echo.local_port) as local,
    ):
        data = os.urandom(1_000_000)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_send_and_end, local, data)
            assert await read_exactly(local, len(data)) == data
        if way.tunnel:
            assert await read_all(local) == b""
        else:
            with pytest.raises(anyio.BrokenResourceError):
                await local.receive()


async def _send_and_end(local: SocketStream, data: bytes) -> None:
    await local.send(data)
    await local.send_eof()


async def test_half_close(connect: Connect, ports: str, ways: list[Way]) -> None:
    assert ports
    checks: list[Callable[[Pods, Way], Coroutine[Any, Any, None]]] = [
        everything_back,
        nothing_after_the_end,
        an_answer_under_way_is_whole,
        a_cut_is_an_error,
        through_a_listener,
    ]

    async def check(way: Way) -> None:
        async with connect(way.context) as pods, anyio.create_task_group() as tasks:
            for each in checks:
                tasks.start_soon(each, pods, way)

    with anyio.fail_after(90):
        await on_each(ways, check)


# Leaving ------------------------------------------------------------------------------------------------------------------


def skip_where_handshakes_cannot_be_cancelled(runtime: Runtime) -> None:
    if runtime == Runtime("uvloop", "aiohttp"):
        pytest.skip(
            "uvloop's TLS (0.23) tells the event loop of an error when a handshake is cancelled in its last moment"
        )


async def test_cancelled_at_any_moment(connect: Connect, ports: str, ways: list[Way], runtime: Runtime) -> None:
    """Whatever a connection is doing when its task is cancelled: nothing is left, and the forwarder goes on."""
    skip_where_handshakes_cannot_be_cancelled(runtime)

    async def use(forwarder: PortForwarder, milliseconds: int) -> None:
        with anyio.move_on_after(milliseconds / 1000):
            async with forwarder.connect(8080) as stream, anyio.create_task_group() as tasks:
                tasks.start_soon(stream.send, bytes(16 * 1024 * 1024))
                while True:
                    await stream.receive()

    async def check(way: Way) -> None:
        async with (
            connect(way.context) as pods,
            pods.portforward.forwarder(f"deploy/{ports}", protocol=way.protocol, max_tunnels=4) as forwarder,
        ):
            async with anyio.create_task_group() as tasks:
                for milliseconds in range(0, 200, 10):
                    tasks.start_soon(use, forwarder, milliseconds)
            async with forwarder.connect(8080) as stream:
                await stream.send(b"hello")
                assert await read_exactly(stream, 5) == b"hello"
        assert forwarder.tunnels == 0

    with anyio.fail_after(60):
        await on_each(ways, check)


async def test_cancelled_opens_never_send_others_to_a_wrong_port(
    connect: Connect, ports: str, ways: list[Way], runtime: Runtime
) -> None:
    """The headers of a tunnel's connections are compressed together: one that was made and not sent would garble those after it."""
    skip_where_handshakes_cannot_be_cancelled(runtime)

    async def open_one(forwarder: PortForwarder, port: int, deadline: float) -> None:
        with anyio.move_on_after(deadline):
            async with forwarder.connect(port) as stream:
                if port == 9999:
                    with pytest.raises(PortForwardError, match="nothing in the pod listens on port 9999"):
                        await stream.receive()
                else:
                    await stream.send(b"x")
                    assert await stream.receive() == b"x"

    async def check(way: Way) -> None:
        if not way.tunnel:
            return
        generator = random.Random(4)
        async with (
            connect(way.context) as pods,
            pods.portforward.forwarder(f"deploy/{ports}", protocol=way.protocol, share=True) as forwarder,
        ):
            for _ in range(10):
                async with anyio.create_task_group() as tasks:
                    for number in range(30):
                        deadline = generator.uniform(0, 0.02) if number % 3 else 30.0
                        tasks.start_soon(open_one, forwarder, generator.choice((8080, 9999)), deadline)

    with anyio.fail_after(60):
        await on_each(ways, check)


async def test_closing_wakes_the_task_that_receives(connect: Connect, ports: str, ways: list[Way]) -> None:
    """Also where the pod's server is stuck, so that nothing comes any more, and whoever of two waits for the socket."""

    async def receive(stream: PortForwardStream) -> None:
        with pytest.raises(anyio.ClosedResourceError):
            await stream.receive()

    async def check(way: Way) -> None:
        async with (
            connect(way.context) as pods,
            pods.portforward.forwarder(f"deploy/{ports}", protocol=way.protocol, share=True) as forwarder,
        ):
            first, second = await forwarder.connect(8084), await forwarder.connect(8084)
            await first.send(b"x")
            with anyio.move_on_after(0.5):
                await first.send(bytes(64 * 1024 * 1024))
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(receive, first)
                tasks.start_soon(receive, second)
                await anyio.wait_all_tasks_blocked()
                await second.aclose()
                await first.aclose()

    with anyio.fail_after(60):
        await on_each(ways, check)
