"""What a tunnel's keeper does: pings, finding out that a server is dead, minding the time, and leaving."""

from __future__ import annotations

import time
from collections.abc import Callable

import anyio
import anyio.lowlevel
import pytest

from kubex_stream import ClientOptions, PortForwardError
from kubex_stream.session import tunnel_keeper
from kubex_stream.session.conduit import EndOfInput
from tests.session.memory import PATIENCE
from tests.session.test_turns import settled
from tests.session.tunnel_peer import EchoPeer, SteppingPeer, TunnelPeer, absorbed, opened, tunnel_to

pytestmark = pytest.mark.anyio


def brisk(timeout: float | None = None) -> ClientOptions:
    """A ping after each 10 ms of silence."""
    return ClientOptions(heartbeat=0.01, heartbeat_timeout=timeout, stream_buffer_size=1000)


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait for what no message announces."""
    with anyio.fail_after(PATIENCE):
        while not condition():
            await anyio.sleep(0.001)


async def test_a_silent_server_is_pinged_and_its_answer_measured() -> None:
    peer = SteppingPeer()
    async with tunnel_to(peer, brisk(timeout=0.5)) as tunnel:
        (pair,) = await opened(tunnel, 80)
        before = pair.statistics.rtt
        assert before is None
        await peer.until(lambda: peer.pings >= 3)
        assert tunnel.pings.rtt is not None
        assert 0 <= tunnel.pings.rtt < PATIENCE
        assert pair.statistics.rtt == tunnel.pings.rtt
        assert tunnel.ended is None
        assert tunnel.pings.confirmed == tunnel.bytes_out == 0


async def test_a_tunnel_without_connections_is_pinged_too() -> None:
    peer = SteppingPeer()
    async with tunnel_to(peer, brisk()):
        await peer.until(lambda: peer.pings >= 3)


async def test_there_is_one_ping_under_way_at_a_time() -> None:
    peer = SteppingPeer()
    async with tunnel_to(peer, brisk()) as tunnel:
        peer.deaf = True
        await eventually(lambda: tunnel.pings.pending)
        await anyio.sleep(0.05)  # for more of them to go out, if they would
        assert len(peer.sent) == 1


async def test_without_keep_alive_nothing_is_sent() -> None:
    peer = SteppingPeer()
    async with tunnel_to(peer, ClientOptions(heartbeat=None, heartbeat_timeout=0.01)) as tunnel:
        await anyio.sleep(0.05)
        tunnel.poke()
        await settled()
        assert peer.sent == []
        assert tunnel.ended is None


async def test_a_server_that_answers_no_pings_is_lost() -> None:
    peer = SteppingPeer()
    async with tunnel_to(peer, brisk(timeout=0.05)) as tunnel:
        first, second = await opened(tunnel, 80, 81)
        peer.deaf = True
        async with anyio.create_task_group() as tasks:

            async def read() -> None:
                with pytest.raises(PortForwardError, match="no sign of life") as caught:
                    await first.receive()
                assert caught.value.kind == "lost"

            tasks.start_soon(read)
        with pytest.raises(PortForwardError, match="no sign of life"):
            await second.send(b"x")
    assert peer.closed


async def test_bytes_are_a_sign_of_life_too() -> None:
    peer = SteppingPeer()
    async with tunnel_to(peer, brisk(timeout=0.3)) as tunnel:
        (pair,) = await opened(tunnel, 80)
        peer.deaf = True
        until = time.monotonic() + 0.45
        while time.monotonic() < until:
            peer.pairs[0].say(b"x")
            assert await pair.receive() == b"x"
            await anyio.sleep(0.005)
        assert tunnel.ended is None


async def test_a_server_that_is_busy_with_many_unconfirmed_bytes_is_not_lost() -> None:
    peer = SteppingPeer()
    async with tunnel_to(peer, brisk(timeout=0.03)) as tunnel:
        (pair,) = await opened(tunnel, 80)
        peer.deaf = True
        await pair.send(bytes(tunnel_keeper.STALLING))
        await eventually(lambda: tunnel.pings.pending)
        await anyio.sleep(0.15)
        assert tunnel.ended is None
        assert tunnel.pings.pending


async def test_an_event_loop_that_was_busy_was_not_listening() -> None:
    peer = SteppingPeer()
    async with tunnel_to(peer, brisk(timeout=0.05)) as tunnel:
        (pair,) = await opened(tunnel, 80)
        peer.deaf = True
        await eventually(lambda: tunnel.pings.pending)
        time.sleep(0.3)  # noqa: ASYNC251  # many deadlines, in which nobody else gets a turn
        for _ in range(10):
            await anyio.lowlevel.checkpoint()
        assert tunnel.ended is None
        peer.pairs[0].say(b"x")
        assert await pair.receive() == b"x"


async def test_many_bytes_that_were_confirmed_hide_no_death() -> None:
    peer = SteppingPeer()
    async with tunnel_to(peer, brisk(timeout=0.05)) as tunnel:
        (pair,) = await opened(tunnel, 80)
        for _ in range(3):
            await pair.send(bytes(tunnel_keeper.STALLING))
            await eventually(lambda: tunnel.pings.confirmed == tunnel.bytes_out)
        peer.deaf = True
        with pytest.raises(PortForwardError, match="no sign of life"):
            await pair.receive()


async def test_bytes_that_flow_both_ways_are_confirmed_on_the_way() -> None:
    peer = EchoPeer()
    async with tunnel_to(peer, ClientOptions(heartbeat=60.0, heartbeat_timeout=None)) as tunnel:
        (pair,) = await opened(tunnel, 7)
        for _ in range(64):
            await pair.send(bytes(32 * 1024))
            assert len(await pair.receive()) == 32 * 1024
        tunnel.poke()
        await eventually(lambda: tunnel.pings.confirmed >= tunnel_keeper.STALLING)


async def test_time_in_which_nobody_reads_does_not_count() -> None:
    peer = SteppingPeer()
    async with tunnel_to(peer, brisk(timeout=0.03)) as tunnel:
        (pair,) = await opened(tunnel, 80)
        for _ in range(4):
            peer.pairs[0].say(b"x" * 600)
        await eventually(lambda: pair.buffer.full)
        peer.deaf = True
        await anyio.sleep(0.15)
        assert tunnel.ended is None
        assert await pair.receive() == b"x" * 600


async def test_the_servers_own_pings_are_answered_while_nobody_receives() -> None:
    peer = SteppingPeer()
    async with tunnel_to(peer) as tunnel:
        await opened(tunnel, 80)
        _, ping = peer.spdy.ping()
        peer.say(ping)
        await absorbed(tunnel, peer)
        await peer.until(lambda: peer.sent[-1] == ping)


async def test_a_flood_of_pings_goes_out_although_the_transport_takes_nothing_for_a_while() -> None:
    peer = SteppingPeer()
    async with tunnel_to(peer) as tunnel:
        (pair,) = await opened(tunnel, 80)
        peer.hold()
        expected = b""
        for _ in range(100):
            _, ping = peer.spdy.ping()
            expected += ping
            peer.say(ping)
        peer.pairs[0].say(b"behind them")
        assert await pair.receive() == b"behind them"
        peer.let_go()
        await peer.until(lambda: b"".join(peer.sent[1:]) == expected)


async def test_a_transport_that_fails_oddly_while_something_queued_is_sent_ends_only_the_tunnel() -> None:
    class Odd(SteppingPeer):
        async def room(self) -> None:
            await super().room()
            if self.deaf:
                raise ZeroDivisionError("of a transport")

    peer = Odd()
    async with tunnel_to(peer) as tunnel:
        (pair,) = await opened(tunnel, 80)
        peer.deaf = True
        await pair.send_eof()
        await settled()
        peer.pairs[0].say(b"still read")
        assert await pair.receive() == b"still read"
        peer.lose()
        with pytest.raises(PortForwardError):
            await pair.receive()


async def test_an_idle_tunnel_is_closed_after_a_minute() -> None:
    peer = SteppingPeer()
    async with tunnel_to(peer) as tunnel:
        (pair,) = await opened(tunnel, 80)
        tunnel.empty_since = time.monotonic() - tunnel_keeper.IDLE_TIMEOUT - 1
        tunnel.poke()
        await settled()
        assert not peer.closed  # it is not empty
        peer.pairs[0].end()
        await absorbed(tunnel, peer)
        await pair.aclose()
        await settled()
        assert not peer.closed
        tunnel.empty_since -= tunnel_keeper.IDLE_TIMEOUT + 1
        tunnel.poke()
        await peer.until(lambda: peer.closed)
        assert not tunnel.usable
    assert peer.closed_with == 1000


async def test_nothing_is_opened_in_an_idle_tunnel_that_is_being_left() -> None:
    class Watched(SteppingPeer):
        usable: bool | None = None

        async def room(self) -> None:
            try:
                await super().room()
            except anyio.get_cancelled_exc_class():
                self.usable = tunnel.usable  # what the keeper's leaving interrupts
                raise

    peer = Watched()
    async with tunnel_to(peer) as tunnel:
        peer.hold()
        peer.say(peer.spdy.ping()[1])
        await absorbed(tunnel, peer)
        await peer.until(lambda: peer.blocked)
        tunnel.empty_since -= tunnel_keeper.IDLE_TIMEOUT + 1
        tunnel.poke()
        await peer.until(lambda: peer.closed)
    assert peer.usable is False


@pytest.mark.parametrize("spoiled", [True, False])
async def test_an_empty_tunnel_that_takes_no_more_is_closed_at_once(spoiled: bool) -> None:
    peer = SteppingPeer()
    async with tunnel_to(peer) as tunnel:
        tunnel.spoiled = spoiled
        tunnel.poke()
        await settled()
        assert peer.closed is spoiled


async def test_what_is_due_is_done_in_time() -> None:
    peer = SteppingPeer()
    async with tunnel_to(peer, ClientOptions(heartbeat=None, heartbeat_timeout=None)) as tunnel:
        pairs = await opened(tunnel, 80, 81, 82, end=EndOfInput(0.01, cuts=False))
        for pair in reversed(pairs):
            await pair.send_eof()
        await peer.until(lambda: all(served.input_ended for served in peer.pairs))


async def test_congestion_is_a_transport_or_a_ping_that_hangs() -> None:
    held, deaf = SteppingPeer(), SteppingPeer()
    async with tunnel_to(held, brisk()) as first, tunnel_to(deaf, brisk()) as second:
        for tunnel, peer in ((first, held), (second, deaf)):
            await opened(tunnel, 80)
            await peer.until(lambda peer=peer: peer.pings > 0)  # type: ignore[misc]
            assert not tunnel.congested
        held.hold()
        deaf.deaf = True
        await eventually(lambda: first.congested and second.congested)
        held.let_go()
        await eventually(lambda: not first.congested)


async def test_cancelling_the_keeper_leaves_the_tunnel() -> None:
    peer = TunnelPeer()
    async with tunnel_to(peer) as tunnel:
        await opened(tunnel, 80)
    assert peer.closed_with == 1000
    assert tunnel.ended is not None
