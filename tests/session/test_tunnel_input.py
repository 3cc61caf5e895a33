"""What is sent over a connection of a tunnel, and the end of it: kept back, passed on, and what follows."""

from __future__ import annotations

import time
from typing import Final

import anyio
import pytest
from anyio.lowlevel import checkpoint

from kubex_stream import ClientOptions, PortForwardError
from kubex_stream.session.conduit import EndOfInput
from tests.session.test_turns import settled
from tests.session.tunnel_peer import (
    EchoPeer,
    PeerPair,
    SteppingPeer,
    TunnelPeer,
    absorbed,
    everything,
    opened,
    tunnel_to,
)

pytestmark = pytest.mark.anyio

#: Kept back until a test's patience would be at its end.
KEPT: Final = EndOfInput(60.0, cuts=True)
BRIEF: Final = EndOfInput(0.02, cuts=True)


async def test_a_large_send_is_cut_into_frames_and_counted() -> None:
    peer = TunnelPeer()
    async with tunnel_to(peer, ClientOptions(heartbeat=None, stdin_chunk_size=1000)) as tunnel:
        (pair,) = await opened(tunnel, 80)
        data = bytes(range(256)) * 10
        await pair.send(data)
        await pair.send(memoryview(data)[:10])
        await pair.send(bytearray(b"more"))
        await pair.send(b"")
        assert bytes(peer.pairs[0].received) == data + data[:10] + b"more"
        assert (pair.statistics.bytes_out, pair.statistics.frames_out) == (2574, 5)


@pytest.mark.parametrize("steps", range(8))
async def test_a_cancelled_send_has_sent_whole_frames_and_harms_nobody(steps: int) -> None:
    peer = EchoPeer()
    async with tunnel_to(peer, ClientOptions(heartbeat=None, stdin_chunk_size=4)) as tunnel:
        first, second = await opened(tunnel, 80, 81)
        async with anyio.create_task_group() as tasks:
            scope = anyio.CancelScope()

            async def send() -> None:
                with scope:
                    await first.send(b"aaaabbbbcccc")

            tasks.start_soon(send)
            for _ in range(steps):
                await checkpoint()
            scope.cancel()
        assert bytes(peer.pairs[0].received) in (b"", b"aaaa", b"aaaabbbb", b"aaaabbbbcccc")
        await second.send(b"fine")
        assert await second.receive() == b"fine"
        await first.send(b"!")
        assert bytes(peer.pairs[0].received).endswith(b"!")


async def test_what_others_have_queued_survives_a_cancelled_send() -> None:
    peer = EchoPeer()
    async with tunnel_to(peer) as tunnel:
        first, second, third = await opened(tunnel, 80, 81, 82)
        peer.hold()
        async with anyio.create_task_group() as tasks:
            scope = anyio.CancelScope()

            async def send() -> None:
                with scope:
                    await first.send(b"never")

            tasks.start_soon(third.send, b"in the way")
            await peer.until(lambda: peer.blocked)
            tasks.start_soon(send)
            await settled()
            await second.send_eof()  # which goes out with the next message
            await settled()
            peer.let_one_through()
            await peer.until(lambda: bool(peer.pairs[2].received) and peer.blocked)
            scope.cancel()
        peer.let_go()
        assert await everything(second) == b""
        assert peer.pairs[1].input_ended


@pytest.mark.parametrize("ended", [False, True])
async def test_sending_fails_when_the_server_has_ended_the_connection(ended: bool) -> None:
    peer = SteppingPeer()
    async with tunnel_to(peer) as tunnel:
        (pair,) = await opened(tunnel, 80)
        if ended:
            peer.pairs[0].end()
        else:
            peer.pairs[0].refuse()
        await absorbed(tunnel, peer)
        with pytest.raises(PortForwardError) as caught:
            await pair.send(b"x")
        assert caught.value.kind == ("closed" if ended else "refused")
        with pytest.raises(PortForwardError):
            await pair.send_eof()
        assert bytes(peer.pairs[0].received) == b""


async def test_sending_fails_when_the_server_has_reset_the_data_only() -> None:
    peer = SteppingPeer()
    async with tunnel_to(peer) as tunnel:
        (pair,) = await opened(tunnel, 80)
        peer.pairs[0].reset_data()
        await absorbed(tunnel, peer)
        with pytest.raises(PortForwardError) as caught:
            await pair.send(b"x")
        assert caught.value.kind == "reset"
        await pair.aclose()  # which never raises
        peer.pairs[0].end_errors()
        await absorbed(tunnel, peer)
        assert (tunnel.load, tunnel.usable) == (0, True)


async def test_a_send_that_waits_while_the_connection_is_closed_says_so() -> None:
    peer = SteppingPeer()
    async with tunnel_to(peer, ClientOptions(heartbeat=None, stdin_chunk_size=4)) as tunnel:
        (pair,) = await opened(tunnel, 80)
        peer.hold()
        async with anyio.create_task_group() as tasks:

            async def send() -> None:
                with pytest.raises(anyio.ClosedResourceError):
                    await pair.send(b"aaaabbbb")

            tasks.start_soon(send)
            await peer.until(lambda: peer.blocked)
            tasks.start_soon(pair.aclose)
            await settled()
            peer.let_go()
        assert bytes(peer.pairs[0].received) == b"aaaa"
        assert peer.pairs[0].input_ended


async def test_an_end_that_needs_no_patience_is_passed_on_at_once_and_receiving_goes_on() -> None:
    peer = SteppingPeer()
    async with tunnel_to(peer) as tunnel:
        (pair,) = await opened(tunnel, 80)
        await pair.send(b"question")
        await pair.send_eof()
        await pair.send_eof()
        await peer.until(lambda: peer.pairs[0].input_ended)
        with pytest.raises(anyio.ClosedResourceError):
            await pair.send(b"more")
        peer.pairs[0].say(b"answer")
        peer.pairs[0].end()
        assert await everything(pair) == b"answer"


@pytest.mark.parametrize("steps", range(4))
async def test_an_end_is_passed_on_however_the_call_is_cancelled(steps: int) -> None:
    peer = SteppingPeer()
    async with tunnel_to(peer) as tunnel:
        pair, other = await opened(tunnel, 80, 81)
        peer.hold()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(other.send, b"in the way")
            await peer.until(lambda: peer.blocked)
            scope = anyio.CancelScope()

            async def end() -> None:
                with scope:
                    await pair.send_eof()

            tasks.start_soon(end)
            for _ in range(steps + 1):
                await checkpoint()
            scope.cancel()
            await settled()
            peer.let_go()
        await pair.send_eof()
        await peer.until(lambda: peer.pairs[0].input_ended)


async def test_an_end_is_kept_back_while_the_pod_is_still_answering() -> None:
    peer = SteppingPeer()
    async with tunnel_to(peer) as tunnel:
        (pair,) = await opened(tunnel, 80, end=KEPT)
        await pair.send(b"question")
        before = time.monotonic()
        await pair.send_eof()
        with pytest.raises(anyio.ClosedResourceError):
            await pair.send(b"more")
        due = pair.due()
        assert due is not None
        assert before + 60 <= due <= time.monotonic() + 60
        # What arrives renews it, and so does what is taken late.
        peer.pairs[0].say(b"answer")
        arrived = time.monotonic()
        await absorbed(tunnel, peer)
        assert (pair.due() or 0) >= arrived + 60
        taken = time.monotonic()
        assert await pair.receive() == b"answer"
        assert (pair.due() or 0) >= taken + 60
        assert not peer.pairs[0].input_ended
        peer.pairs[0].end()
        assert await everything(pair) == b""
        assert pair.due() is None


async def test_an_end_is_not_passed_on_while_something_waits_to_be_taken() -> None:
    peer = SteppingPeer()
    async with tunnel_to(peer) as tunnel:
        (pair,) = await opened(tunnel, 80, end=KEPT)
        await pair.send_eof()
        peer.pairs[0].say(b"answer")
        await absorbed(tunnel, peer)
        looked = time.monotonic()
        pair.look()  # patience is at its end
        assert (pair.due() or 0) >= looked + 60
        assert await pair.receive() == b"answer"
        pair.look()
        await peer.until(lambda: peer.pairs[0].input_ended)
        assert pair.due() is None


async def test_an_end_is_passed_on_after_silence() -> None:
    peer = EchoPeer()
    async with tunnel_to(peer) as tunnel:
        (pair,) = await opened(tunnel, 80, end=EndOfInput(0.02, cuts=False))
        await pair.send(b"echo")
        await pair.send_eof()
        assert await everything(pair) == b"echo"
        assert peer.pairs[0].input_ended


async def test_what_comes_before_the_runtime_can_have_cut_it_is_whole() -> None:
    class Answering(SteppingPeer):
        def on_end(self, pair: PeerPair) -> None:
            pair.say(b"answer")
            pair.end()

    async with tunnel_to(Answering()) as tunnel:
        (pair,) = await opened(tunnel, 80, end=BRIEF)
        await pair.send_eof()
        assert await everything(pair) == b"answer"


async def test_what_the_runtime_may_have_cut_is_an_error_only_after_an_answer() -> None:
    peer = SteppingPeer()
    async with tunnel_to(peer) as tunnel:
        pairs = [await tunnel.open(80, EndOfInput(0.0, cuts=cuts)) for cuts in (True, True, False)]
        for pair in pairs:
            await pair.send_eof()
        await peer.until(lambda: all(served.input_ended for served in peer.pairs))
        answered, silent, carried = pairs
        for pair, served in ((answered, peer.pairs[0]), (carried, peer.pairs[2])):
            served.say(b"part of")
            assert await pair.receive() == b"part of"
        await anyio.sleep(1.01)  # the second that containerd gives
        for served in peer.pairs:
            served.end()
        with pytest.raises(PortForwardError, match="may be incomplete") as caught:
            await answered.receive()
        assert caught.value.kind == "cut"
        assert await everything(silent) == b""
        assert await everything(carried) == b""


async def test_what_was_sent_is_unconfirmed_until_something_comes_back() -> None:
    peer = EchoPeer()
    async with tunnel_to(peer) as tunnel:
        pair, other = await opened(tunnel, 80, 81)
        assert not pair.unconfirmed()
        await pair.send(b"echo")
        assert pair.unconfirmed()
        assert await pair.receive() == b"echo"
        assert not pair.unconfirmed()
        # What came before is taken after it: that confirms nothing, and neither does the end.
        peer.pairs[0].say(b"early")
        await other.send(b"x")
        assert await other.receive() == b"x"
        await pair.send(b"last")
        assert pair.buffer.size
        assert await pair.receive() == b"early"
        assert pair.unconfirmed()
        peer.on_data = lambda *_: None  # type: ignore[method-assign]
        await other.send(b"last")
        await other.send_eof()
        assert other.unconfirmed()
        await absorbed(tunnel, peer)
        assert not other.unconfirmed()  # the server has ended it
