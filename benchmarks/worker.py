"""``python -m benchmarks.worker``: one measurement in a fresh process.  It reads a job from its standard input and writes a result.

Rules of this file:
- Everything is done once, smaller, before it is measured: imports, caches, the heap and the connection's options are then as they stay.
- Measured is from before the first byte of the handshake until the session has ended and been left.  Making the client is not measured.
- CPU time is the process's own, user and system.
"""

from __future__ import annotations

import cProfile
import gc
import json
import pstats
import resource
import sys
import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager, nullcontext
from typing import Any, Final

import anyio

from benchmarks.clients import make_client
from benchmarks.clients.base import Client
from benchmarks.processes import highest_rss, pin, private_memory, raise_limit, rss
from benchmarks.spec import Job, Result

__all__ = ("measure", "percentiles")

_AT_ONCE: Final = 16  # handshakes
_ECHOES: Final = 100  # before it counts
#: Watches what is measured, where ``--profile`` asked for that.
_PROFILE: Final = cProfile.Profile() if "--profile" in sys.argv else None


@contextmanager
def timed(client: Client, result: Result) -> Generator[None, None, None]:
    """Measure what happens in this block."""
    gc.collect()
    before, collections, memory = resource.getrusage(resource.RUSAGE_SELF), _collections(), rss()
    cpu, begun = client.cpu_clock(), time.perf_counter()
    with nullcontext() if _PROFILE is None else _PROFILE:
        yield
    result.wall, result.cpu = time.perf_counter() - begun, client.cpu_clock() - cpu
    after = resource.getrusage(resource.RUSAGE_SELF)
    result.faults = after.ru_minflt - before.ru_minflt
    result.collections = _collections() - collections
    result.growth, result.rss = max(0, highest_rss() - memory), rss()


def _collections() -> int:
    return sum(generation["collections"] for generation in gc.get_stats())


def percentiles(times: list[float]) -> dict[str, float]:
    """The 50th, 90th and 99th of the times."""
    ordered = sorted(times)
    return {str(number): ordered[min(len(ordered) - 1, len(ordered) * number // 100)] for number in (50, 90, 99)}


async def down(client: Client, job: Job, result: Result) -> None:
    await client.down(job.warm)
    with timed(client, result):
        result.moved = await client.down(job.command)


async def run(client: Client, job: Job, result: Result) -> None:
    await client.run(job.warm)
    with timed(client, result):
        result.moved = await client.run(job.command)


async def up(client: Client, job: Job, result: Result) -> None:
    await client.up(job.warm, job.warm_total)
    with timed(client, result):
        result.moved = await client.up(job.command, job.total)


async def duplex(client: Client, job: Job, result: Result) -> None:
    await client.duplex(job.warm, job.warm_total)
    with timed(client, result):
        result.moved = await client.duplex(job.command, job.total)


async def echo(client: Client, job: Job, result: Result) -> None:
    await client.echo(job.warm, _ECHOES)
    with timed(client, result):
        times = await client.echo(job.command, job.count + _ECHOES)
    result.latencies = percentiles(times[_ECHOES:])


async def session(client: Client, job: Job, result: Result) -> None:
    for _ in range(max(5, job.count // 10)):
        await client.session(job.warm)
    with timed(client, result):
        for _ in range(job.count):
            await client.session(job.command)


async def idle(client: Client, job: Job, result: Result) -> None:
    await client.session(job.warm)
    gc.collect()
    before = private_memory()
    limiter, done, opened = anyio.CapacityLimiter(_AT_ONCE), anyio.Event(), anyio.Semaphore(0)

    async def one() -> None:
        async with limiter:
            session = client.idle(job.command)
            await session.__aenter__()
        opened.release()
        try:
            await done.wait()
        finally:
            await session.__aexit__(None, None, None)

    async with anyio.create_task_group() as tasks:
        with timed(client, result):
            for _ in range(job.count):
                tasks.start_soon(one)
            for _ in range(job.count):
                await opened.acquire()
            gc.collect()
        result.memory, result.rss = private_memory() - before, rss()
        done.set()


async def busy(client: Client, job: Job, result: Result) -> None:
    moved: list[int] = []

    async def one() -> None:
        moved.append(await client.down(job.command))

    await client.down(job.warm)
    with timed(client, result):
        async with anyio.create_task_group() as tasks:
            for _ in range(job.count):
                tasks.start_soon(one)
    result.moved = sum(moved)


async def forward_down(client: Client, job: Job, result: Result) -> None:
    await client.forward_down(job.warm_total)
    with timed(client, result):
        result.moved = await client.forward_down(job.total)


async def forward_echo(client: Client, job: Job, result: Result) -> None:
    with timed(client, result):
        times = await client.forward_echo(job.count + _ECHOES)
    result.latencies = percentiles(times[_ECHOES:])


async def forward_session(client: Client, job: Job, result: Result) -> None:
    for _ in range(max(5, job.count // 10)):
        await client.forward_session()
    with timed(client, result):
        for _ in range(job.count):
            await client.forward_session()


async def alone(client: Client, job: Job, result: Result) -> None:
    """What needs no connection: ``down`` of so many bytes in frames of so many, as the command says."""
    await client.down(job.warm)
    with timed(client, result):
        result.moved = await client.down(job.command)
    result.count = result.moved // int(job.command[1])


async def log_read(client: Client, job: Job, result: Result) -> None:
    await client.log_read(int(job.warm[0]))
    with timed(client, result):
        result.moved = await client.log_read(int(job.command[0]))
    result.count = int(job.command[0])
    _check(result.moved, job.total)


async def log_follow(client: Client, job: Job, result: Result) -> None:
    await client.log_follow(int(job.warm[0]))
    with timed(client, result):
        result.count = await client.log_follow(int(job.command[0]))
    result.moved = job.total
    _check(result.count, int(job.command[0]))


async def watch(client: Client, job: Job, result: Result) -> None:
    await client.watch(job.warm[0], int(job.warm[1]))
    with timed(client, result):
        result.count = await client.watch(job.command[0], int(job.command[1]))
    result.moved = job.total
    _check(result.count, int(job.command[1]))


def _check(got: int, wanted: int) -> None:
    if got != wanted:
        raise RuntimeError(f"{got} came of {wanted}")


SCENARIOS: Final[dict[str, Callable[[Client, Job, Result], Awaitable[None]]]] = {
    "down": down, "run": run, "up": up, "duplex": duplex, "echo": echo, "session": session, "idle": idle, "busy": busy,
    "forward_down": forward_down, "forward_echo": forward_echo, "forward_session": forward_session, "alone": alone,
    "log_read": log_read, "log_follow": log_follow, "watch": watch,
}  # fmt: skip


async def measure(job: Job) -> Result:
    """Do one measurement."""
    result = Result(wall=0.0, cpu=0.0, count=job.count)
    client = make_client(job.client, job.place)
    raise_limit()
    async with client.opened():
        await SCENARIOS[job.scenario](client, job, result)
    return result


def run_on(loop: str, function: Callable[..., Awaitable[Any]], *args: object) -> Any:
    """Run a coroutine function on ``asyncio``, ``uvloop`` or ``trio``."""
    options = {} if loop == "trio" else {"use_uvloop": loop == "uvloop"}
    return anyio.run(function, *args, backend="trio" if loop == "trio" else "asyncio", backend_options=options)


def main() -> None:
    """Read a job, do it, write what was measured."""
    job = Job.from_json(sys.stdin.read())
    pin(job.cpu)
    result: Result = run_on(job.loop, measure, job)
    sys.stdout.write(json.dumps(result.to_json()) + "\n")
    if _PROFILE is not None:
        pstats.Stats(_PROFILE).sort_stats("tottime").print_stats(25)


if __name__ == "__main__":
    main()
