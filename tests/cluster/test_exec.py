"""exec on a real cluster: what a server really sends, on every backend and both ways that a stream can take."""

from __future__ import annotations

import hashlib
import random
from collections.abc import AsyncIterator

import anyio
import pytest

from kubex_stream import ExecResult, HalfCloseUnsupported, StartError
from tests.cluster.conftest import Connect

pytestmark = pytest.mark.anyio
SIZE = 64 * 1024 * 1024
V4, V5 = "v4.channel.k8s.io", "v5.channel.k8s.io"


async def pieces(size: int, seed: int = 7) -> AsyncIterator[bytes]:
    generator = random.Random(seed)
    for _ in range(size // 65536):
        yield generator.randbytes(65536)


def digest(size: int, seed: int = 7) -> str:
    generator, sha = random.Random(seed), hashlib.sha256()
    for _ in range(size // 65536):
        sha.update(generator.randbytes(65536))
    return sha.hexdigest()


@pytest.mark.parametrize("protocol", [V4, V5])
async def test_output_and_exit_code(connect: Connect, context: str | None, protocol: str) -> None:
    async with connect(context) as pods:
        done = await pods.exec.run(
            "box", ["sh", "-c", "echo out; echo err >&2; exit 7"], container="main", protocols=[protocol]
        )
    assert (done.exit_code, done.stdout, done.stderr) == (7, b"out\n", b"err\n")
    assert done.status is not None
    assert done.status.reason == "NonZeroExitCode"


@pytest.mark.parametrize(("signal", "code"), [("KILL", 137), ("TERM", 143)])
async def test_death_by_signal_is_128_and_its_number(
    connect: Connect, context: str | None, signal: str, code: int
) -> None:
    async with connect(context) as pods:
        done = await pods.exec.run("box", ["sh", "-c", f"kill -{signal} $$"], container="main")
    assert done.exit_code == code


@pytest.mark.parametrize("protocol", [V4, V5])
async def test_a_missing_program_is_a_start_error(connect: Connect, context: str | None, protocol: str) -> None:
    async with connect(context) as pods:
        with pytest.raises(StartError, match=r"no such file or directory|not found") as caught:
            await pods.exec.run("box", ["/no/such/program"], container="main", protocols=[protocol])
    assert caught.value.status_code == 500


async def test_64_MiB_into_a_digest_and_its_end_by_half_close(connect: Connect, context: str | None) -> None:
    async with connect(context) as pods:
        done = await pods.exec.run("box", ["sha256sum"], container="main", input=pieces(SIZE), encoding="ascii")
    assert done.stdout.split()[0] == digest(SIZE)


async def test_full_duplex(connect: Connect, context: str | None) -> None:
    size = 16 * 1024 * 1024
    sha = hashlib.sha256()
    async with connect(context) as pods:
        done = await pods.exec.run("box", ["cat"], container="main", input=pieces(size), stdout=sha.update, timeout=120)
    assert (done.exit_code, sha.hexdigest()) == (0, digest(size))


async def test_half_close_keeps_the_rest_of_the_output(connect: Connect, context: str | None) -> None:
    async with (
        connect(context) as pods,
        pods.exec.stream("box", ["sh", "-c", "cat; sleep 0.2; echo after"], container="main", stdin=True) as process,
    ):
        assert process.subprotocol == V5
        await process.stdin.send(b"before\n")
        await process.stdin.aclose()
        assert b"".join([chunk async for chunk in process.stdout]) == b"before\nafter\n"
        assert await process.wait() == 0


async def test_half_close_on_v4_is_refused_in_words(connect: Connect, context: str | None) -> None:
    async with connect(context) as pods:
        with pytest.raises(HalfCloseUnsupported, match=r"v5\.channel"):
            await pods.exec.run("box", ["cat"], container="main", input=b"x", protocols=[V4])


@pytest.mark.parametrize("protocol", [V4, V5])
async def test_tty_with_resize(connect: Connect, context: str | None, protocol: str) -> None:
    script = "trap 'stty size; exit 3' WINCH; echo ready; while :; do sleep 0.1; done"
    async with (
        connect(context) as pods,
        pods.exec.stream(
            "box", ["sh", "-c", script], container="main", tty=True, encoding="utf-8", protocols=[protocol]
        ) as process,
    ):
        text = ""
        while "ready" not in text:
            text += await process.stdout.receive()
        await process.resize(width=123, height=45)
        async for piece in process.stdout:
            text += piece
        assert await process.wait() == 3
    assert "45 123" in text


async def test_a_shell_on_a_tty_ends_at_the_end_of_input(connect: Connect, context: str | None) -> None:
    async with (
        connect(context) as pods,
        pods.exec.stream("box", ["sh"], container="main", tty=True) as process,
    ):
        await process.stdin.send(b"echo all-of-it; exit 5\n")
        output = b"".join([chunk async for chunk in process.stdout])
        assert await process.wait() == 5
    assert output.count(b"all-of-it") >= 2


async def test_100_concurrent_commands(connect: Connect, context: str | None) -> None:
    results: dict[int, ExecResult[bytes]] = {}
    async with connect(context) as pods:

        async def one(number: int) -> None:
            results[number] = await pods.exec.run(
                "box", ["sh", "-c", f"echo {number}; exit {number}"], container="main"
            )

        async with anyio.create_task_group() as tasks:
            for number in range(100):
                tasks.start_soon(one, number)
    assert {number: (done.exit_code, int(done.stdout)) for number, done in results.items()} == {
        number: (number, number) for number in range(100)
    }


async def test_many_small_lines_in_order(connect: Connect, context: str | None) -> None:
    async with connect(context) as pods:
        done = await pods.exec.run("box", ["seq", "1", "200000"], container="main")
    assert done.stdout == b"".join(b"%d\n" % number for number in range(1, 200001))


async def test_statistics_and_round_trip_time(connect: Connect, context: str | None) -> None:
    async with (
        connect(context, heartbeat=0.1) as pods,
        pods.exec.stream("box", ["sh", "-c", "cat"], container="main", stdin=True) as process,
    ):
        await process.stdin.send(b"1234")
        assert await process.stdout.receive() == b"1234"
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(process.wait)
            with anyio.fail_after(30):
                while process.statistics.rtt is None:
                    await anyio.sleep(0.02)
            tasks.cancel_scope.cancel()
        seen = process.statistics
    assert (seen.bytes_in, seen.bytes_out) == (4, 4)
