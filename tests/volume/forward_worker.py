"""A client of port-forwards in a process of its own: does one scenario and prints what came of it as JSON.

python forward_worker.py SCENARIO PROTOCOL BACKEND LOOP KUBECONFIG AMOUNT
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Literal, cast

import anyio
from anyio.abc import ByteStream

from kubex_stream import ClientConfiguration, Pods, create_client
from tests.volume.worker import forget_peak, resident

Protocol = Literal["tunnel", "legacy"]
PIECE = 65536
ECHO = 7

Outcome = dict[str, object]


async def pieces(size: int) -> AsyncIterator[bytes]:
    generator = random.Random(7)
    for _ in range(size // PIECE):
        yield generator.randbytes(PIECE)


async def exchange(stream: ByteStream, size: int) -> tuple[str, str]:
    """Send and receive at once; the digests of both."""
    sent, received = hashlib.sha256(), hashlib.sha256()

    async def send() -> None:
        async for piece in pieces(size):
            sent.update(piece)
            await stream.send(piece)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(send)
        left = size
        while left:
            piece = await stream.receive(left)
            received.update(piece)
            left -= len(piece)
    return sent.hexdigest(), received.hexdigest()


async def duplex(pods: Pods, protocol: Protocol, size: int) -> Outcome:
    """Through a stream."""
    async with pods.portforward.connect("demo", ECHO, protocol=protocol) as stream:
        sent, received = await exchange(stream, size)
    return {"sent": sent, "received": received}


async def duplex_listen(pods: Pods, protocol: Protocol, size: int) -> Outcome:
    """Through a listener."""
    async with pods.portforward.listen("demo", f":{ECHO}", protocol=protocol, address="127.0.0.1") as (listener,):
        async with await anyio.connect_tcp("127.0.0.1", listener.local_port) as local:
            sent, received = await exchange(local, size)
    return {"sent": sent, "received": received}


async def sequential(pods: Pods, protocol: Protocol, count: int) -> Outcome:
    """One connection after another over one listener."""
    answered = 0
    async with pods.portforward.listen("demo", f":{ECHO}", protocol=protocol, address="127.0.0.1") as (listener,):
        for number in range(count):
            async with await anyio.connect_tcp("127.0.0.1", listener.local_port) as local:
                await local.send(b"%d" % number)
                answered += await local.receive() == b"%d" % number
    return {"answered": answered, "failures": listener.failures, "active": listener.active}


async def burst(pods: Pods, protocol: Protocol, count: int) -> Outcome:
    """All at once over one listener."""
    answered = 0
    async with pods.portforward.listen("demo", f":{ECHO}", protocol=protocol, address="127.0.0.1") as (listener,):

        async def one(number: int) -> None:
            nonlocal answered
            data = b"%d " % number * 2000
            async with await anyio.connect_tcp("127.0.0.1", listener.local_port) as local:
                got = b""

                async def receive() -> None:
                    nonlocal got
                    while len(got) < len(data):
                        got += await local.receive()

                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(receive)
                    await local.send(data)
                answered += got == data

        async with anyio.create_task_group() as tasks:
            for number in range(count):
                tasks.start_soon(one, number)
    return {"answered": answered, "failures": listener.failures, "active": listener.active}


SCENARIOS: dict[str, Callable[[Pods, Protocol, int], Awaitable[Outcome]]] = {
    "duplex": duplex, "duplex_listen": duplex_listen, "sequential": sequential, "burst": burst,
}  # fmt: skip


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def main(scenario: str, protocol: str, backend: str, kubeconfig: str, amount: int) -> None:
    configuration = await ClientConfiguration.load(kubeconfig=kubeconfig)
    async with create_client(configuration, backend=backend) as client:
        # What is imported, or opened once for the whole process, comes before the measuring.
        await duplex_listen(Pods(client), cast("Protocol", protocol), PIECE)
    before, base = descriptors(), resident()
    forget_peak()
    async with create_client(configuration, backend=backend) as client:
        outcome = await SCENARIOS[scenario](Pods(client), cast("Protocol", protocol), amount)
    outcome["growth"] = resident() - base
    outcome["descriptors"] = descriptors() - before
    if backend == "aiohttp":
        outcome["tasks"] = len(asyncio.all_tasks()) - 1
    sys.stdout.write(json.dumps(outcome))


if __name__ == "__main__":
    scenario, protocol, backend, loop, kubeconfig, amount = sys.argv[1:]
    anyio.run(
        main, scenario, protocol, backend, kubeconfig, int(amount),
        backend="trio" if loop == "trio" else "asyncio",
        backend_options={} if loop == "trio" else {"use_uvloop": loop == "uvloop"},
    )  # fmt: skip
