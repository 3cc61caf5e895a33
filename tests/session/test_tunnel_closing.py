"""Closing a connection of a tunnel: what was sent is delivered, the tunnel is clean afterwards, or is not used again."""

from __future__ import annotations

import time

import anyio
import pytest
from anyio.lowlevel import checkpoint

from kubex_stream import ClientOptions
from kubex_stream.session.conduit import EndOfInput
from tests.session.memory import PATIENCE
from tests.session.test_turns import settled
from tests.session.tunnel_peer import EchoPeer, SteppingPeer, TunnelPeer, absorbed, opened, tunnel_to

pytestmark = pytest.mark.anyio


async def test_a_closed_connection_is_ended_and_goes_when_the_server_has_ended_it_too() -> None:
    peer = SteppingPeer()
    async with tunnel_to(peer) as tunnel:
        (pair,) = await opened(tunnel, 80)
        await pair.send(b"last")
        await pair.aclose()
        await pair.aclose()
        assert bytes(peer.pairs[0].received) == b"last"
        assert peer.pairs[0].input_ended
        assert not peer.pairs[0].reset
        assert (tunnel.load, tunnel.usable) == (1, True)
        peer.pairs[0].say(b"nobody wants this")
        peer.pairs[0].end()
        await absorbed(tunnel, peer)
        assert (tunnel.load, tunnel.usable) == (0, True)
        assert dict(tunnel.spdy.streams) == {}
        assert dict(peer.spdy.streams) == {}
        with pytest.raises(anyio.ClosedResourceError):
            await pair.receive()
        with pytest.raises(anyio.ClosedResourceError):
            await pair.send(b"x")
        with pytest.raises(anyio.ClosedResourceError):
            await pair.send_eof()


async def test_one_that_the_server_has_ended_goes_at_once() -> None:
    peer = SteppingPeer()
    async with tunnel_to(peer) as tunnel:
        (pair,) = await opened(tunnel, 80)
        peer.pairs[0].end()
        with pytest.raises(anyio.EndOfStream):
            await pair.receive()
        assert tunnel.load == 1
        await pair.aclose()
        assert (tunnel.load, tunnel.usable) == (0, True)
        # Of the data's stream only the server's half was closed; now neither side keeps it.
        await peer.until(lambda: not peer.spdy.streams)
        assert dict(tunnel.spdy.streams) == {}


async def test_what_arrives_for_a_closed_one_is_dropped_and_stops_nobody() -> None:
    peer = SteppingPeer()
    async with tunnel_to(peer, ClientOptions(heartbeat=None, stream_buffer_size=1000)) as tunnel:
        closed, other = await opened(tunnel, 80, 81)
        await closed.aclose()
        for _ in range(20):
            peer.pairs[0].say(b"x" * 600)
        peer.pairs[1].say(b"fine")
        assert await other.receive() == b"fine"
        assert closed.buffer.size == 0


async def test_one_that_the_server_does_not_end_is_given_up_and_its_tunnel_takes_no_more() -> None:
    peer = SteppingPeer()
    async with tunnel_to(peer) as tunnel:
        pair, other = await opened(tunnel, 80, 81)
        await pair.aclose()
        due = pair.due()
        assert due is not None
        assert 2 < due - time.monotonic() <= 5
        pair.look()  # what the keeper does then
        await peer.until(lambda: len(peer.pairs[0].reset) == 2)
        assert (tunnel.load, tunnel.usable) == (1, False)
        peer.pairs[1].say(b"fine")
        assert await other.receive() == b"fine"
        peer.pairs[1].end()
        await absorbed(tunnel, peer)
        await other.aclose()
        await peer.until(lambda: peer.closed)  # the last one has gone, and nothing can follow
    assert peer.closed_with == 1000


async def test_a_transport_that_takes_nothing_is_not_waited_for_longer_than_the_close_timeout() -> None:
    peer = SteppingPeer()
    async with tunnel_to(peer, ClientOptions(heartbeat=None, close_timeout=0.05)) as tunnel:
        (pair,) = await opened(tunnel, 80)
        peer.hold()
        await pair.aclose()
        assert (tunnel.load, tunnel.usable) == (0, False)


async def test_closing_is_not_cut_short_by_a_cancellation() -> None:
    peer = SteppingPeer()
    async with tunnel_to(peer) as tunnel:
        (pair,) = await opened(tunnel, 80)
        with anyio.CancelScope() as scope:
            scope.cancel()
            await pair.aclose()
        assert peer.pairs[0].input_ended
        assert tunnel.usable


async def test_closing_passes_on_an_end_that_was_kept_back() -> None:
    peer = SteppingPeer()
    async with tunnel_to(peer) as tunnel:
        (pair,) = await opened(tunnel, 80, end=EndOfInput(60.0, cuts=True))
        await pair.send_eof()
        assert not peer.pairs[0].input_ended
        await pair.aclose()
        assert peer.pairs[0].input_ended


@pytest.mark.parametrize("steps", range(10))
async def test_closing_in_the_middle_of_an_exchange_leaves_a_clean_tunnel(steps: int) -> None:
    peer = EchoPeer()
    async with tunnel_to(peer, ClientOptions(heartbeat=None, stdin_chunk_size=10)) as tunnel:
        (pair,) = await opened(tunnel, 7)
        async with anyio.create_task_group() as tasks:

            async def send() -> None:
                with pytest.raises(anyio.ClosedResourceError):  # noqa: PT012
                    while True:
                        await pair.send(b"0123456789" * 3)

            async def receive() -> None:
                with pytest.raises(anyio.ClosedResourceError):  # noqa: PT012
                    while True:
                        await pair.receive()

            tasks.start_soon(send)
            tasks.start_soon(receive)
            for _ in range(steps + 5):
                await checkpoint()
            await pair.aclose()
        tunnel.poke()
        with anyio.fail_after(PATIENCE):
            while tunnel.load:
                await checkpoint()
        assert dict(tunnel.spdy.streams) == dict(peer.spdy.streams) == {}
        (again,) = await opened(tunnel, 7)
        await again.send(b"works")
        assert await again.receive() == b"works"


async def test_closing_when_the_tunnel_is_lost_is_quiet() -> None:
    peer = TunnelPeer()
    async with tunnel_to(peer) as tunnel:
        first, second = await opened(tunnel, 80, 81)
        peer.lose()
        await absorbed(tunnel, peer)
        await first.aclose()
        await peer.until(lambda: peer.closed)
        await second.aclose()
        assert tunnel.load == 0


async def test_leaving_says_goodbye_even_where_closing_fails() -> None:
    class Stubborn(SteppingPeer):
        async def close(self, code: int = 1000) -> None:
            if code == 1000 and not self.refused:
                self.refused = True
                raise ZeroDivisionError
            await super().close(code)

        refused = False

    peer = Stubborn()
    async with tunnel_to(peer) as tunnel:
        await opened(tunnel, 80)
        await settled()
    assert peer.closed
    assert peer.refused
