"""attach on a real cluster."""

from __future__ import annotations

import anyio
import pytest

from tests.cluster.conftest import Connect

pytestmark = pytest.mark.anyio


async def test_output_from_now_on(connect: Connect, context: str | None) -> None:
    async with connect(context) as pods, pods.attach.stream("box", container="main") as process:
        with anyio.fail_after(30):
            assert (await process.stdout.receive()).startswith(b"line ")
            assert (await process.stderr.receive()).startswith(b"err ")


async def test_cat_gives_back_what_it_gets(
    connect: Connect, context: str | None, request: pytest.FixtureRequest
) -> None:
    line = f"{request.node.name}\n".encode()
    async with connect(context) as pods, pods.attach.stream("box", container="cat", stdin=True) as process:
        await process.stdin.send(line)
        seen = b""
        with anyio.fail_after(30):
            while line not in seen:
                seen += await process.stdout.receive()
        # stdinOnce is false: this ends the attachment with Success, and the container's stdin stays open.
        await process.stdin.aclose()
        await process.wait()


async def test_a_shell_on_a_terminal(connect: Connect, context: str | None) -> None:
    async with connect(context) as pods, pods.attach.stream("box", container="shell", stdin=True, tty=True) as process:
        await process.resize(width=101, height=37)
        await process.stdin.send(b"stty size\n")
        seen = b""
        with anyio.fail_after(30):
            while b"37 101" not in seen:
                seen += await process.stdout.receive()
