"""What the layer above a backend costs: CPU time per GiB of stdout, as ratios to the bare connection's own loop.

    python benchmarks/layer.py [--backend aiohttp] [--loop asyncio] [--mebibytes 256] [--rounds 7]

An embedded cluster in a process of its own sends; three ways of reading take turns in one client process: ``bare`` (the backend's
WebSocketConnection and nothing else), ``stream`` (``exec.stream``, every chunk taken) and ``run`` (``exec.run``, everything kept).
Reported are medians of the ratios of neighbours, and their range: machines are noisy, absolute figures say little.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable

import anyio

from kubex_stream import BaseClient, ClientConfiguration, Pods, create_client
from kubex_stream.client import Request

PATH = "/api/v1/namespaces/default/pods/demo/exec"


def command(size: int) -> list[str]:
    return ["head", "-c", str(size), "/dev/zero"]


async def bare(client: BaseClient, size: int) -> int:
    flags = [("stdin", "false"), ("stdout", "true"), ("stderr", "true"), ("tty", "false")]
    query = [*(("command", word) for word in command(size)), *flags]
    connection = await client.connect_websocket(Request(path=PATH, query=query), ["v4.channel.k8s.io"])
    total = 0
    while True:
        try:
            total += len(await connection.receive_bytes()) - 1
        except StopAsyncIteration:
            break
    await connection.close()
    return total


async def stream(client: BaseClient, size: int) -> int:
    total = 0
    async with Pods(client).exec.stream("demo", command(size)) as process:
        async for chunk in process.stdout:
            total += len(chunk)
        await process.wait()
    return total


async def run(client: BaseClient, size: int) -> int:
    return len((await Pods(client).exec.run("demo", command(size), check=True)).stdout)


WAYS: dict[str, Callable[[BaseClient, int], Awaitable[int]]] = {"bare": bare, "stream": stream, "run": run}


async def measure(kubeconfig: str, backend: str, size: int, rounds: int) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {name: [] for name in WAYS}
    configuration = await ClientConfiguration.load(kubeconfig=kubeconfig)
    async with create_client(configuration, backend=backend) as client:
        for number in range(rounds + 1):
            for name, way in WAYS.items():
                begun = time.process_time()
                assert await way(client, size) >= size
                if number:  # the first round warms up
                    seconds[name].append(time.process_time() - begun)
    return seconds


def report(seconds: dict[str, list[float]], size: int) -> str:
    lines = [f"bare: {statistics.median(seconds['bare']) * 2**30 / size:.2f} CPU seconds per GiB"]
    for name in ("stream", "run"):
        ratios = sorted(one / other for one, other in zip(seconds[name], seconds["bare"], strict=True))
        lines.append(f"{name} / bare: {statistics.median(ratios):.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f})")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description="What the layer above a backend costs.")
    parser.add_argument("--backend", default="aiohttp")
    parser.add_argument("--loop", choices=["asyncio", "uvloop", "trio"], default="asyncio")
    parser.add_argument("--mebibytes", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    size = given.mebibytes * 2**20
    loop = "trio" if given.loop == "trio" else "asyncio"
    how = {} if given.loop == "trio" else {"use_uvloop": given.loop == "uvloop"}
    server = [sys.executable, "-m", "kubex_stream.testing", "--quiet"]
    with subprocess.Popen(server, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            kubeconfig = process.stdout.readline().strip()
            seconds = anyio.run(
                measure, kubeconfig, given.backend, size, given.rounds, backend=loop, backend_options=how
            )
        finally:
            process.terminate()
    sys.stdout.write(report(seconds, size))


if __name__ == "__main__":
    main()
