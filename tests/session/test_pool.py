"""Which tunnel a new connection takes, when a new one is opened, and what happens when that fails."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import anyio
import pytest

from kubex_stream import ClientOptions, ConnectionFailed, Observer, PortForwardError
from kubex_stream.session.pair import Pair
from kubex_stream.session.pool import TunnelPool
from kubex_stream.session.tunnel import CONGESTED, Tunnel
from tests.session.memory import PATIENCE
from tests.session.test_turns import settled
from tests.session.tunnel_peer import AT_ONCE, PATH, QUIET, EchoPeer, SteppingPeer, TunnelPeer, absorbed

pytestmark = pytest.mark.anyio


class Handshakes:
    """Opens the pool's tunnels, one after the other to these peers; an exception among them is how a handshake fails."""

    def __init__(self, *peers: TunnelPeer | Exception, options: ClientOptions = QUIET) -> None:
        self.peers = deque(peers)
        self.options = options
        self.begun = 0
        #: Set where a handshake may end.
        self.gate = anyio.Event()
        self.gate.set()

    async def connect(self, released: Callable[[Tunnel], None]) -> Tunnel:
        self.begun += 1
        await self.gate.wait()
        await anyio.lowlevel.checkpoint()
        peer = self.peers.popleft() if self.peers else SteppingPeer()
        if isinstance(peer, Exception):
            raise peer
        return Tunnel(peer, self.options, path=PATH, observer=Observer(), released=released)


@asynccontextmanager
async def pool_of(handshakes: Handshakes, limit: int = 32) -> AsyncGenerator[TunnelPool, None]:
    async with anyio.create_task_group() as tasks:
        try:
            with anyio.fail_after(PATIENCE):
                yield TunnelPool(tasks, handshakes.connect, limit)
        finally:
            tasks.cancel_scope.cancel()


async def opened(pool: TunnelPool, *ports: int) -> list[Pair]:
    return [await pool.open(port, AT_ONCE) for port in ports]


async def test_each_connection_has_a_tunnel_of_its_own_up_to_the_limit_and_then_they_share_evenly() -> None:
    handshakes = Handshakes()
    async with pool_of(handshakes, limit=3) as pool:
        pairs = await opened(pool, *range(1, 8))
        assert len(pool.tunnels) == handshakes.begun == 3
        assert sorted(tunnel.load for tunnel in pool.tunnels) == [2, 2, 3]
        assert len({id(pair.tunnel) for pair in pairs[:3]}) == 3


async def test_connections_that_are_opened_at_once_do_not_pile_up_in_one_tunnel() -> None:
    handshakes = Handshakes()
    async with pool_of(handshakes, limit=4) as pool:
        async with anyio.create_task_group() as tasks:
            for port in range(1, 9):
                tasks.start_soon(pool.open, port, AT_ONCE)
        assert [tunnel.load for tunnel in pool.tunnels] == [2, 2, 2, 2]


async def test_a_tunnel_is_used_again_after_a_clean_end_only() -> None:
    peers = [SteppingPeer(), SteppingPeer()]
    handshakes = Handshakes(*peers)
    async with pool_of(handshakes) as pool:
        (pair,) = await opened(pool, 80)
        peers[0].pairs[0].end()
        await absorbed(pair.tunnel, peers[0])
        await pair.aclose()
        (again,) = await opened(pool, 80)
        assert again.tunnel is pair.tunnel
        await again.aclose()
        again.look()  # the server did not end it in time
        (other,) = await opened(pool, 80)
        assert other.tunnel is not pair.tunnel
        assert handshakes.begun == 2
        await peers[0].until(lambda: peers[0].closed)


async def test_a_tunnel_prepared_is_the_one_that_is_used() -> None:
    handshakes = Handshakes()
    async with pool_of(handshakes) as pool:
        await pool.prepare()
        assert len(pool.tunnels) == 1
        await opened(pool, 80)
        assert handshakes.begun == 1


async def test_a_handshake_that_fails_is_told_to_all_who_wait_for_it_and_the_next_one_tries_again() -> None:
    error = ConnectionFailed("no route")
    handshakes = Handshakes(error)
    handshakes.gate = anyio.Event()
    async with pool_of(handshakes, limit=1) as pool:
        failures: list[Exception] = []

        async def connect() -> None:
            with pytest.raises(ConnectionFailed) as caught:
                await pool.open(80, AT_ONCE)
            failures.append(caught.value)

        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(connect)
            await settled()
            handshakes.gate.set()
        assert failures == [error] * 3
        assert handshakes.begun == 1
        await opened(pool, 80)
        assert handshakes.begun == 2


async def test_an_opener_that_is_cancelled_leaves_the_handshake_to_the_next_one() -> None:
    handshakes = Handshakes()
    handshakes.gate = anyio.Event()
    async with pool_of(handshakes, limit=1) as pool:
        found: list[Pair] = []

        async def connect(scope: anyio.CancelScope) -> None:
            with scope:
                found.append(await pool.open(80, AT_ONCE))

        scopes = [anyio.CancelScope() for _ in range(3)]
        async with anyio.create_task_group() as tasks:
            for scope in scopes:
                tasks.start_soon(connect, scope)
                await settled()
            scopes[0].cancel()
            await settled()
            assert handshakes.begun == 2
            handshakes.gate.set()
        assert len(found) == 2
        assert len(pool.tunnels) == 1


async def test_a_lost_tunnel_is_replaced() -> None:
    peers = [SteppingPeer(), SteppingPeer()]
    async with pool_of(Handshakes(*peers)) as pool:
        (pair,) = await opened(pool, 80)
        peers[0].lose()
        with pytest.raises(PortForwardError):
            await pair.receive()
        assert pool.tunnels == ()
        (other,) = await opened(pool, 80)
        assert other.tunnel is not pair.tunnel


async def test_a_congested_tunnel_is_not_shared() -> None:
    peers = [SteppingPeer(), SteppingPeer(), SteppingPeer()]
    handshakes = Handshakes(*peers)
    async with pool_of(handshakes, limit=1) as pool:
        (stuck,) = await opened(pool, 80)
        peers[0].hold()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(stuck.send, b"which nobody reads")
            await peers[0].until(lambda: peers[0].blocked)
            await anyio.sleep(CONGESTED + 0.05)
            assert stuck.tunnel.congested
            second, third = await opened(pool, 81, 82)
            assert second.tunnel is not stuck.tunnel
            assert third.tunnel is second.tunnel  # there is one that flows, and that is the limit
            peers[0].let_go()
        assert handshakes.begun == 2


async def test_an_empty_tunnel_that_does_not_answer_is_not_used() -> None:
    peers = [SteppingPeer(), SteppingPeer()]
    handshakes = Handshakes(*peers, options=ClientOptions(heartbeat=0.01, heartbeat_timeout=None))
    async with pool_of(handshakes) as pool:
        await pool.prepare()
        peers[0].deaf = True
        (dead,) = pool.tunnels
        with anyio.fail_after(PATIENCE):
            while not dead.congested:
                await anyio.sleep(0.01)
        (pair,) = await opened(pool, 80)
        assert pair.tunnel is not dead


async def test_one_that_finds_its_tunnel_spoiled_when_its_turn_comes_takes_another() -> None:
    peers = [SteppingPeer(), SteppingPeer()]
    handshakes = Handshakes(*peers)
    async with pool_of(handshakes, limit=1) as pool:
        await opened(pool, 80)
        peers[0].hold()
        async with anyio.create_task_group() as tasks:
            scope = anyio.CancelScope()

            async def connect() -> None:
                with scope:
                    await pool.open(81, AT_ONCE)

            tasks.start_soon(connect)
            await peers[0].until(lambda: peers[0].blocked)
            tasks.start_soon(pool.open, 82, AT_ONCE)
            await settled()
            scope.cancel()
            await settled()
            peers[0].let_go()
        assert [pair.port for pair in peers[1].pairs] == [82]
        assert [pair.port for pair in peers[0].pairs] == [80]


async def test_retired_tunnels_carry_what_they_carry_and_end_with_it() -> None:
    peers = [EchoPeer(), EchoPeer(), EchoPeer()]
    async with pool_of(Handshakes(*peers)) as pool:
        busy, idle = await opened(pool, 80, 81)
        await idle.aclose()
        await absorbed(idle.tunnel, peers[1])
        assert idle.tunnel.load == 0
        pool.retire()
        await peers[1].until(lambda: peers[1].closed)
        assert pool.tunnels == (busy.tunnel,)
        (fresh,) = await opened(pool, 82)
        assert fresh.tunnel not in (busy.tunnel, idle.tunnel)
        await busy.send(b"goes on")
        assert await busy.receive() == b"goes on"
        await busy.aclose()
        await absorbed(busy.tunnel, peers[0])
        busy.tunnel.poke()
        await peers[0].until(lambda: peers[0].closed)


async def test_a_tunnel_that_is_retired_before_its_handshake_ends_is_not_used() -> None:
    peers = [SteppingPeer(), SteppingPeer()]
    handshakes = Handshakes(*peers)
    handshakes.gate = anyio.Event()
    async with pool_of(handshakes) as pool:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(pool.open, 80, AT_ONCE)
            await settled()
            pool.retire()
            handshakes.gate.set()
        assert [pair.port for pair in peers[0].pairs] == []
        assert [pair.port for pair in peers[1].pairs] == [80]
        for tunnel in pool.tunnels:
            tunnel.poke()
        await peers[0].until(lambda: peers[0].closed)
        assert len(pool.tunnels) == 1


async def test_a_tunnel_that_takes_no_more_is_counted_until_it_has_ended() -> None:
    async with pool_of(Handshakes()) as pool:
        (pair,) = await opened(pool, 80)
        pair.tunnel.spoiled = True
        await opened(pool, 81)
        assert len(pool.tunnels) == 2
        assert pair.tunnel in pool.tunnels


async def test_a_handshake_that_ends_when_all_is_over_leaves_nothing_open() -> None:
    peer = SteppingPeer()
    handshakes = Handshakes(peer)
    handshakes.gate = anyio.Event()
    async with anyio.create_task_group() as outer:
        async with pool_of(handshakes) as pool:

            async def connect() -> None:
                with pytest.raises(RuntimeError):
                    await pool.open(80, AT_ONCE)

            outer.start_soon(connect)
            await settled()
        handshakes.gate.set()
    assert peer.closed


@pytest.mark.parametrize("end", ["end", "lost"])
async def test_waiting_for_delivery_ends_with_a_sign_of_it(end: str) -> None:
    peer = SteppingPeer()
    async with pool_of(Handshakes(peer)) as pool:
        await pool.delivered()  # of nothing
        (pair,) = await opened(pool, 80)
        await pair.send(b"last words")
        await pool.delivered()  # of what is still open its owner knows
        await pair.send_eof()
        await pair.aclose()
        done = anyio.Event()

        async def deliver() -> None:
            await pool.delivered()
            done.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(deliver)
            await settled()
            assert not done.is_set()
            if end == "lost":
                peer.lose()
            else:
                peer.pairs[0].end()
            pair.tunnel.poke()
            await done.wait()
