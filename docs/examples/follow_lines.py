"""Follow a command line by line while it runs, and leave it, killed, once a line says enough."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator

from kubex_stream import STDOUT, Pods, create_client

COMMAND = ["sh", "-c", "i=0; while :; do i=$((i+1)); echo step $i; sleep 0.05; done"]


async def lines(pieces: AsyncIterable[str]) -> AsyncIterator[str]:
    """Pieces come as the network cuts them; lines do not."""
    rest = ""
    async for piece in pieces:
        *whole, rest = (rest + piece).split("\n")
        for line in whole:
            yield line
    if rest:
        yield rest


async def main() -> None:
    async with (
        create_client() as client,
        Pods(client).exec.stream("demo", COMMAND, stderr=STDOUT, encoding="utf-8", on_cancel="kill") as process,
    ):
        async for line in lines(process.stdout):
            print(line)
            if line == "step 5":
                break


if __name__ == "__main__":
    asyncio.run(main())
