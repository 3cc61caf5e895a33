"""Opening connections in a tunnel: the server's answers, and leaving at every step."""

from __future__ import annotations

import anyio
import pytest

from kubex_stream import ConnectionLost, PortForwardError
from tests.session.memory import PATIENCE
from tests.session.test_turns import settled
from tests.session.tunnel_peer import (
    AT_ONCE,
    EchoPeer,
    PeerPair,
    SteppingPeer,
    TunnelPeer,
    everything,
    opened,
    tunnel_to,
)

pytestmark = pytest.mark.anyio


async def test_a_pair_of_streams_is_opened_in_one_message_and_its_headers_say_what_it_is() -> None:
    peer = TunnelPeer()
    async with tunnel_to(peer) as tunnel:
        await opened(tunnel, 80, 443)
        assert [pair.headers for pair in peer.pairs] == [
            {"streamtype": "error", "port": "80", "requestid": "0"},
            {"streamtype": "error", "port": "443", "requestid": "1"},
        ]
        assert [(pair.error_id, pair.data_id) for pair in peer.pairs] == [(1, 3), (5, 7)]
        assert [pair.ended for pair in peer.pairs] == [{1}, {5}]
        assert len(peer.sent) == 2


@pytest.mark.parametrize("error_first", [True, False])
async def test_replies_may_come_in_any_order_and_both_are_waited_for(error_first: bool) -> None:
    peer = TunnelPeer(accepts=False)
    async with tunnel_to(peer) as tunnel, anyio.create_task_group() as tasks:
        done = anyio.Event()

        async def connect() -> None:
            await opened(tunnel, 80)
            done.set()

        tasks.start_soon(connect)
        await peer.until(lambda: bool(peer.pairs and peer.pairs[0].data_id))
        ids = [peer.pairs[0].error_id, peer.pairs[0].data_id]
        first, second = ids if error_first else reversed(ids)
        peer.say(peer.spdy.reply(first))
        await peer.until(lambda: peer.waiting)
        await settled()
        assert not done.is_set()
        peer.say(peer.spdy.reply(second))
        await done.wait()


async def test_what_comes_with_the_replies_is_not_lost() -> None:
    class BannerPeer(SteppingPeer):
        def on_pair(self, pair: PeerPair) -> None:
            with self.one_message():
                pair.reply()
                pair.say(b"220 hello\r\n")

    async with tunnel_to(BannerPeer()) as tunnel:
        (pair,) = await opened(tunnel, 25)
        assert await pair.receive() == b"220 hello\r\n"


async def test_what_comes_before_the_replies_is_not_lost() -> None:
    class EagerPeer(SteppingPeer):
        def on_pair(self, pair: PeerPair) -> None:
            self.say(self.spdy.reply(pair.data_id))
            pair.say(b"first ")
            pair.say(b"second")
            self.say(self.spdy.reply(pair.error_id))
            pair.end()

    async with tunnel_to(EagerPeer()) as tunnel:
        (pair,) = await opened(tunnel, 25)
        assert await everything(pair) == b"first second"


async def test_a_reset_of_both_streams_before_any_reply_is_a_refusal_and_the_tunnel_goes_on() -> None:
    peer = SteppingPeer(accepts=False)
    async with tunnel_to(peer) as tunnel, anyio.create_task_group() as tasks:

        async def refuse() -> None:
            await peer.until(lambda: bool(peer.pairs and peer.pairs[0].data_id))
            peer.pairs[0].reset_errors()
            peer.pairs[0].reset_data()
            peer.accepts = True

        tasks.start_soon(refuse)
        with pytest.raises(PortForwardError) as caught:
            await opened(tunnel, 80)
        assert (caught.value.kind, caught.value.port) == ("reset", 80)
        assert (tunnel.load, tunnel.usable) == (0, True)
        await opened(tunnel, 80)


async def test_a_refusal_with_a_text_before_any_reply_says_the_text() -> None:
    peer = SteppingPeer(accepts=False)
    async with tunnel_to(peer) as tunnel, anyio.create_task_group() as tasks:

        async def refuse() -> None:
            await peer.until(lambda: bool(peer.pairs and peer.pairs[0].data_id))
            peer.pairs[0].refuse("(conn=x, request=0) timed out waiting for streams")

        tasks.start_soon(refuse)
        with pytest.raises(PortForwardError) as caught:
            await opened(tunnel, 80)
        assert caught.value.kind == "timeout"


@pytest.mark.parametrize("steps", range(12))
async def test_opening_can_be_cancelled_at_every_step_and_leaves_nothing(steps: int) -> None:
    peer = EchoPeer()
    async with tunnel_to(peer) as tunnel:
        (other,) = await opened(tunnel, 7)
        async with anyio.create_task_group() as tasks:
            scope = anyio.CancelScope()

            async def connect() -> None:
                with scope:
                    pair = await tunnel.open(80, AT_ONCE)
                    await pair.aclose()

            tasks.start_soon(connect)
            for _ in range(steps):
                await anyio.lowlevel.checkpoint()
            scope.cancel()
        # The other connection does not notice.
        await other.send(b"still here")
        assert await other.receive() == b"still here"
        await other.aclose()
        await peer.until(lambda: all(pair.ended >= {pair.data_id} or pair.reset for pair in peer.pairs))
        with anyio.fail_after(PATIENCE):
            while tunnel.load:
                await anyio.lowlevel.checkpoint()


async def test_opening_that_is_cancelled_before_anything_was_sent_does_not_spoil_the_tunnel() -> None:
    peer = EchoPeer()
    async with tunnel_to(peer) as tunnel:
        (other,) = await opened(tunnel, 7)
        peer.hold()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(other.send, b"in the way")
            await peer.until(lambda: peer.blocked)
            with anyio.CancelScope() as scope:
                scope.cancel()
                await tunnel.open(80, AT_ONCE)
            assert scope.cancelled_caught
            assert (tunnel.load, tunnel.usable) == (1, True)
            peer.let_go()
        (pair,) = await opened(tunnel, 7)
        await pair.send(b"works")
        assert await pair.receive() == b"works"


async def test_opening_that_is_cancelled_while_it_is_being_sent_spoils_the_tunnel_for_new_connections_only() -> None:
    peer = EchoPeer()
    async with tunnel_to(peer) as tunnel:
        (other,) = await opened(tunnel, 7)
        peer.hold()
        async with anyio.create_task_group() as tasks:
            scope = anyio.CancelScope()

            async def connect() -> None:
                with scope:
                    await tunnel.open(80, AT_ONCE)

            tasks.start_soon(connect)
            await peer.until(lambda: peer.blocked)
            scope.cancel()
        assert not tunnel.usable
        peer.let_go()
        await other.send(b"still here")
        assert await other.receive() == b"still here"


@pytest.mark.parametrize("way", ["receive", "send"])
async def test_opening_in_a_tunnel_that_breaks_is_an_error_of_the_connection(way: str) -> None:
    peer = SteppingPeer(accepts=False)
    async with tunnel_to(peer) as tunnel, anyio.create_task_group() as tasks:

        async def fail() -> None:
            if way == "send":
                await peer.until(lambda: peer.blocked)
                await peer.close()
            else:
                await peer.until(lambda: bool(peer.pairs))
                peer.lose("cable cut")

        if way == "send":
            peer.hold()
        tasks.start_soon(fail)
        with pytest.raises(PortForwardError) as caught:
            await tunnel.open(80, AT_ONCE)
        assert caught.value.kind == "lost"
        assert isinstance(caught.value.__cause__, ConnectionLost)
        assert tunnel.load == 0


async def test_opening_in_a_tunnel_that_has_ended_is_an_error_at_once() -> None:
    peer = TunnelPeer()
    async with tunnel_to(peer) as tunnel:
        peer.finish()
        await peer.until(lambda: peer.closed)
        with pytest.raises(PortForwardError, match="the server closed it") as caught:
            await tunnel.open(80, AT_ONCE)
        assert caught.value.kind == "lost"
        assert not tunnel.usable
