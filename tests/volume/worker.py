"""A client in a process of its own, so that its memory can be measured: does one scenario and prints what came of it as JSON.

python worker.py SCENARIO BACKEND LOOP KUBECONFIG BYTES
"""

from __future__ import annotations

import hashlib
import json
import random
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import anyio

from kubex_stream import ClientConfiguration, Pods, create_client

PIECE = 65536
# Runs at the other end; random.Random gives the same bytes here and there.
SOURCE = """
import random, sys
generator = random.Random(7)
for _ in range(int(sys.argv[1]) // 65536):
    sys.stdout.buffer.write(generator.randbytes(65536))
"""

Outcome = dict[str, object]


def resident() -> int:
    """The largest size that this process has had since the last look, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("no VmHWM")


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def expected(size: int) -> str:
    generator, sha = random.Random(7), hashlib.sha256()
    for _ in range(size // PIECE):
        sha.update(generator.randbytes(PIECE))
    return sha.hexdigest()


async def pieces(size: int) -> AsyncIterator[bytes]:
    generator = random.Random(7)
    for _ in range(size // PIECE):
        yield generator.randbytes(PIECE)


async def capture(pods: Pods, size: int) -> Outcome:
    begun = time.perf_counter()
    done = await pods.exec.run("demo", [sys.executable, "-c", SOURCE, str(size)], check=True)
    seconds = time.perf_counter() - begun
    return {"digest": hashlib.sha256(done.stdout).hexdigest(), "seconds": seconds}


async def _consume(pods: Pods, size: int, *, stdin: bool) -> Outcome:
    sha, spooled = hashlib.sha256(), 0
    async with pods.exec.stream("demo", [sys.executable, "-c", SOURCE, str(size)], stdin=stdin) as process:
        taken = 0
        async for chunk in process.stdout:
            sha.update(chunk)
            # A long sleep early on, when everything is still to come, and a short one every 64 MiB.
            if taken < PIECE <= taken + len(chunk):
                await anyio.sleep(5 if size >= 2**30 else 2)
            elif taken // 2**26 != (taken + len(chunk)) // 2**26:
                await anyio.sleep(0.2)
            taken += len(chunk)
        code, spooled = await process.wait(), process.statistics.spooled
    return {"digest": sha.hexdigest(), "code": code, "spooled": spooled}


async def sleepy(pods: Pods, size: int) -> Outcome:
    return await _consume(pods, size, stdin=False)


async def sleepy_v5(pods: Pods, size: int) -> Outcome:
    return await _consume(pods, size, stdin=True)


async def upload(pods: Pods, size: int) -> Outcome:
    done = await pods.exec.run("demo", ["sha256sum"], input=pieces(size), check=True, encoding="ascii")
    return {"digest": done.stdout.split()[0]}


async def duplex(pods: Pods, size: int) -> Outcome:
    sha = hashlib.sha256()
    await pods.exec.run("demo", ["cat"], input=pieces(size), stdout=sha.update, check=True)
    return {"digest": sha.hexdigest()}


async def concurrent(pods: Pods, size: int) -> Outcome:
    """``size`` commands at once on one client."""
    answers: list[int] = []

    async def one(number: int) -> None:
        done = await pods.exec.run("demo", ["sh", "-c", f"echo {number}; exit {number % 100}"])
        assert done.exit_code == number % 100
        answers.append(int(done.stdout))

    async with anyio.create_task_group() as tasks:
        for number in range(size):
            tasks.start_soon(one, number)
    return {"answers": sorted(answers) == list(range(size))}


async def cancelled(pods: Pods, size: int) -> Outcome:
    """Input for a process that never reads; how long the cancellation takes."""
    with anyio.move_on_after(1) as scope:
        await pods.exec.run("demo", ["sleep", "60"], input=bytes(size))
    assert scope.cancelled_caught
    return {"seconds": anyio.current_time() - scope.deadline}


SCENARIOS: dict[str, Callable[[Pods, int], Awaitable[Outcome]]] = {
    "capture": capture,
    "sleepy": sleepy,
    "sleepy_v5": sleepy_v5,
    "upload": upload,
    "duplex": duplex,
    "concurrent": concurrent,
    "cancelled": cancelled,
}


async def main(scenario: str, backend: str, kubeconfig: str, size: int) -> Outcome:
    configuration = await ClientConfiguration.load(kubeconfig=kubeconfig)
    async with create_client(configuration, backend=backend) as client:
        pods = Pods(client)
        await pods.exec.run("demo", ["true"])  # what is loaded once is not growth
        forget_peak()
        before = resident()
        outcome = await SCENARIOS[scenario](pods, size)
        return {**outcome, "growth": resident() - before}


if __name__ == "__main__":
    scenario, backend, loop, kubeconfig, size = sys.argv[1:]
    how = {"backend": "trio"} if loop == "trio" else {"backend_options": {"use_uvloop": loop == "uvloop"}}
    outcome = anyio.run(main, scenario, backend, kubeconfig, int(size), **how)
    sys.stdout.write(json.dumps({**outcome, "expected": expected(int(size))}) + "\n")
