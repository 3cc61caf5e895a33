"""Several connections over one tunnel, interleaved and cancelled at random: each one's bytes stay exact, and the tunnel comes out clean."""

from __future__ import annotations

import random

import anyio
import pytest
from anyio.lowlevel import checkpoint

from kubex_stream import ClientOptions
from kubex_stream.session.pair import Pair
from kubex_stream.session.tunnel import Tunnel
from tests.session.memory import PATIENCE
from tests.session.tunnel_peer import AT_ONCE, EchoPeer, tunnel_to

pytestmark = pytest.mark.anyio


class RestlessPeer(EchoPeer):
    """Takes a random time for everything, and cuts its messages at random."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__()
        self._chance = chance

    def say(self, frame: bytes) -> None:
        self.piece = self._chance.choice((None, None, None, 5, 100))
        super().say(frame)

    async def room(self) -> None:
        for _ in range(self._chance.randrange(4)):
            await checkpoint()
        await super().room()

    async def receive_bytes(self) -> bytes:
        for _ in range(self._chance.randrange(3)):
            await checkpoint()
        return await super().receive_bytes()


class Exchange:
    """One connection's life: it sends, receives, is cancelled now and then, and is ended or dropped."""

    def __init__(self, tunnel: Tunnel, number: int, chance: random.Random) -> None:
        self._tunnel, self._number, self._chance = tunnel, number, chance
        pieces = [chance.randbytes(chance.choice((1, 10, 100, 900))) for _ in range(chance.randrange(1, 8))]
        self._pieces = pieces
        self.drops = chance.random() < 0.3

    async def run(self) -> None:
        for _ in range(self._chance.randrange(20)):
            await checkpoint()
        pair = await self._tunnel.open(self._number, AT_ONCE)
        received = bytearray()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._receive, pair, received)
            for piece in self._pieces:
                await pair.send(piece)
            if not self.drops:
                await pair.send_eof()
            else:
                await pair.aclose()
        await pair.aclose()
        sent = b"".join(self._pieces)
        assert sent.startswith(bytes(received)) if self.drops else bytes(received) == sent

    async def _receive(self, pair: Pair, received: bytearray) -> None:
        while True:
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as tasks:
                    if self._chance.random() < 0.4:
                        tasks.start_soon(self._cancel, scope)
                    try:
                        received += await pair.receive()
                    except (anyio.EndOfStream, anyio.ClosedResourceError):
                        return
                    finally:
                        tasks.cancel_scope.cancel()
            if self._chance.random() < 0.2:
                for _ in range(self._chance.randrange(30)):
                    await checkpoint()  # a consumer that is busy elsewhere

    async def _cancel(self, scope: anyio.CancelScope) -> None:
        for _ in range(self._chance.randrange(6)):
            await checkpoint()
        scope.cancel()


async def give_up_opening(tunnel: Tunnel, chance: random.Random) -> None:
    """Wait for a turn to open a connection, and leave before anything was sent."""
    with anyio.CancelScope() as scope:
        scope.cancel()
        await tunnel.open(9, AT_ONCE)
    for _ in range(chance.randrange(5)):
        await checkpoint()


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("limit", [0, 1024**3], ids=["memory", "spool"])
async def test_every_connections_bytes_are_exact(seed: int, limit: int) -> None:
    chance = random.Random(seed)
    peer = RestlessPeer(chance)
    options = ClientOptions(heartbeat=None, stdin_chunk_size=500, stream_buffer_size=400, spool_limit=limit)
    async with tunnel_to(peer, options) as tunnel:
        async with anyio.create_task_group() as tasks:
            for number in range(1, 6):
                tasks.start_soon(Exchange(tunnel, number, chance).run)
                tasks.start_soon(give_up_opening, tunnel, chance)
        tunnel.poke()
        with anyio.fail_after(PATIENCE):
            while tunnel.load:
                await checkpoint()
        assert tunnel.usable
        assert dict(tunnel.spdy.streams) == dict(peer.spdy.streams) == {}
