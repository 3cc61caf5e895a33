"""Send a large input through a command in a container, full duplex, without holding input or output in memory."""

import asyncio
import hashlib
from collections.abc import AsyncIterator

from kubex_stream import Pods, create_client

PIECE = b"a line of input that the container turns into capitals\n" * 1000


async def pieces(count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield PIECE


async def main() -> None:
    digest = hashlib.sha256()
    async with create_client() as client:
        done = await Pods(client).exec.run(
            "demo", ["tr", "a-z", "A-Z"], input=pieces(100), stdout=digest.update, timeout=60, check=True
        )
    print(done.statistics)
    assert digest.digest() == hashlib.sha256(PIECE.upper() * 100).digest()


if __name__ == "__main__":
    asyncio.run(main())
