"""What is kept in a tunnel for connections that do not take it: in memory, in a file, and when the tunnel waits."""

from __future__ import annotations

import logging

import anyio
import pytest

from kubex_stream import ClientOptions
from tests.session.test_turns import settled
from tests.session.tunnel_peer import PATH, PeerPair, SteppingPeer, everything, opened, tunnel_to

pytestmark = pytest.mark.anyio


def small(size: int = 1000, spool_limit: int = 1024**3) -> ClientOptions:
    return ClientOptions(heartbeat=None, stream_buffer_size=size, spool_limit=spool_limit)


async def test_a_connection_by_itself_stops_the_reading_and_relieves_it() -> None:
    peer = SteppingPeer()
    async with tunnel_to(peer, small()) as tunnel:
        (pair,) = await opened(tunnel, 80)
        for number in range(10):
            peer.pairs[0].say(bytes([number]) * 600)
        peer.pairs[0].end()
        tunnel.poke()
        await peer.until(lambda: pair.buffer.full)
        await settled()
        assert (pair.buffer.size, peer.left) == (1200, 10)  # two are taken, eight and the two ends are not
        assert await everything(pair) == b"".join(bytes([number]) * 600 for number in range(10))
        assert pair.statistics.spooled == 0


async def test_a_stalled_connection_in_a_shared_tunnel_is_spooled_and_the_others_go_on() -> None:
    peer = SteppingPeer()
    async with tunnel_to(peer, small()) as tunnel:
        stalled, other = await opened(tunnel, 80, 81)
        expected = b""
        for number in range(50):
            peer.pairs[0].say(bytes([number]) * 600)
            expected += bytes([number]) * 600
            peer.pairs[1].say(b"%d" % number)
            assert await other.receive() == b"%d" % number
        assert stalled.buffer.size == len(expected)
        assert stalled.statistics.spooled > 20_000
        peer.pairs[0].end()
        assert await everything(stalled) == expected
        await stalled.aclose()


async def test_above_the_spool_limit_the_tunnel_waits_for_the_stalled_one_and_goes_on_with_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    peer = SteppingPeer()
    async with tunnel_to(peer, small(spool_limit=3000)) as tunnel:
        stalled, other = await opened(tunnel, 80, 81)
        for _ in range(10):
            peer.pairs[0].say(b"x" * 600)
        peer.pairs[1].say(b"behind it")
        peer.pairs[0].end()
        got: list[bytes] = []

        async def read() -> None:
            got.append(await other.receive())

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            await peer.until(lambda: stalled.buffer.size >= 3000)
            await settled()
            assert got == []
            assert tunnel.unread is False
            assert await everything(stalled) == b"x" * 6000
        assert got == [b"behind it"]
        await stalled.aclose()
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert PATH in warnings[0]
    assert "spool_limit" in warnings[0]


async def test_closing_the_stalled_one_lets_the_others_go_on() -> None:
    peer = SteppingPeer()
    async with tunnel_to(peer, small(spool_limit=0)) as tunnel:
        stalled, other = await opened(tunnel, 80, 81)
        for _ in range(4):
            peer.pairs[0].say(b"x" * 600)
        peer.pairs[1].say(b"behind it")
        async with anyio.create_task_group() as tasks:

            async def read() -> None:
                assert await other.receive() == b"behind it"

            tasks.start_soon(read)
            await peer.until(lambda: stalled.buffer.full)
            await settled()
            await stalled.aclose()


async def test_a_second_connection_relieves_a_tunnel_that_one_had_stopped() -> None:
    peer = SteppingPeer()
    async with tunnel_to(peer, small()) as tunnel:
        (stalled,) = await opened(tunnel, 80)
        for _ in range(5):
            peer.pairs[0].say(b"x" * 600)
        tunnel.poke()
        await peer.until(lambda: stalled.buffer.full)
        await settled()
        assert peer.left == 3
        (other,) = await opened(tunnel, 81)  # its replies come behind that
        peer.pairs[1].say(b"hello")
        assert await other.receive() == b"hello"
        assert stalled.buffer.size == 3000
        peer.pairs[0].end()
        assert await everything(stalled) == b"x" * 3000
        await stalled.aclose()


async def test_data_before_the_replies_that_fills_the_memory_does_not_stop_the_opening() -> None:
    class FloodingPeer(SteppingPeer):
        def on_pair(self, pair: PeerPair) -> None:
            self.say(self.spdy.reply(pair.data_id))
            pair.say(b"x" * 2000)
            self.say(self.spdy.reply(pair.error_id))
            pair.end()

    async with tunnel_to(FloodingPeer(), small()) as tunnel:
        (pair,) = await opened(tunnel, 80)
        assert await everything(pair) == b"x" * 2000
