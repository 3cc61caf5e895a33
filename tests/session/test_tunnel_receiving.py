"""Many connections, one socket: who reads, who waits, and what is kept for those who do not take it."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import pytest
from anyio.lowlevel import checkpoint

from kubex_stream import ClientOptions, Observer, PortForwardError
from kubex_stream.session.pair import Pair
from tests.session.test_turns import settled
from tests.session.tunnel_peer import (
    PATH,
    EchoPeer,
    GatheringPeer,
    SteppingPeer,
    TunnelPeer,
    absorbed,
    everything,
    opened,
    tunnel_to,
)

pytestmark = pytest.mark.anyio


def small(size: int = 1000, spool_limit: int = 1024**3) -> ClientOptions:
    return ClientOptions(heartbeat=None, stream_buffer_size=size, spool_limit=spool_limit)


async def test_whoever_waits_reads_for_all() -> None:
    peer = SteppingPeer()
    async with tunnel_to(peer) as tunnel:
        first, second = await opened(tunnel, 80, 81)
        peer.pairs[1].say(b"for the second")
        peer.pairs[0].say(b"for the first")
        assert await first.receive() == b"for the first"
        assert second.buffer.size == len(b"for the second")
        assert await second.receive() == b"for the second"
        assert (first.statistics.frames_in, first.statistics.bytes_in) == (1, 13)


async def test_what_has_arrived_comes_in_one_piece_up_to_the_size_asked_for() -> None:
    peer = GatheringPeer()
    async with tunnel_to(peer, small()) as tunnel:
        (pair,) = await opened(tunnel, 80)
        for number in range(10):
            peer.pairs[0].say(bytes([number]) * 600)
        assert await pair.receive(1000) == b"\0" * 600 + b"\1" * 600
        assert await pair.receive(600) == b"\2" * 600
        assert await pair.receive() == b"".join(bytes([number]) * 600 for number in range(3, 10))
        assert pair.statistics.frames_in == 10


async def test_what_arrives_together_goes_to_its_owners_and_the_end_comes_last() -> None:
    peer = GatheringPeer()
    async with tunnel_to(peer) as tunnel:
        first, second = await opened(tunnel, 80, 81)
        peer.pairs[0].say(b"one ")
        peer.pairs[1].say(b"for the second")
        peer.pairs[0].say(b"two")
        peer.pairs[1].end()
        peer.pairs[0].refuse("went wrong")
        assert await first.receive() == b"one two"
        assert await everything(second) == b"for the second"
        with pytest.raises(PortForwardError, match="went wrong"):
            await first.receive()


async def test_a_reader_that_is_cancelled_hands_over_to_one_that_waits() -> None:
    peer = SteppingPeer()
    async with tunnel_to(peer) as tunnel:
        first, second, third = await opened(tunnel, 80, 81, 82)
        got: list[tuple[int, bytes]] = []

        async def read(pair: Pair, scope: anyio.CancelScope) -> None:
            with scope:
                got.append((pair.port, await pair.receive()))

        async with anyio.create_task_group() as tasks:
            scopes = [anyio.CancelScope() for _ in range(3)]
            for pair, scope in zip((first, second, third), scopes, strict=True):
                tasks.start_soon(read, pair, scope)
                await settled()
            scopes[0].cancel()
            await settled()
            scopes[1].cancel()
            await settled()
            peer.pairs[2].say(b"third")
        assert got == [(82, b"third")]
        peer.pairs[0].say(b"first")
        peer.pairs[1].say(b"second")
        assert await first.receive() == b"first"
        assert await second.receive() == b"second"


@pytest.mark.parametrize("steps", range(8))
async def test_a_cancelled_receive_loses_nothing_and_blocks_nobody(steps: int) -> None:
    peer = SteppingPeer()
    async with tunnel_to(peer) as tunnel:
        first, second = await opened(tunnel, 80, 81)
        got = b""

        async def read(scope: anyio.CancelScope) -> None:
            nonlocal got
            with scope:
                got += await first.receive()

        async with anyio.create_task_group() as tasks:
            scope = anyio.CancelScope()
            tasks.start_soon(read, scope)
            peer.pairs[0].say(b"one ")
            peer.pairs[0].say(b"two ")
            for _ in range(steps):
                await checkpoint()
            scope.cancel()
        peer.pairs[1].say(b"second")
        assert await second.receive() == b"second"
        peer.pairs[0].end()
        assert got + await everything(first) == b"one two "


async def test_a_keeper_that_reads_ahead_makes_room_for_a_consumer_at_once() -> None:
    peer = SteppingPeer()
    async with tunnel_to(peer) as tunnel:
        (pair,) = await opened(tunnel, 80)
        peer.pairs[0].say(b"ahead")
        await absorbed(tunnel, peer)
        assert pair.buffer.size == 5
        assert await pair.receive() == b"ahead"
        assert tunnel.reading  # by the keeper
        async with anyio.create_task_group() as tasks:

            async def read() -> None:
                assert await pair.receive() == b"later"
                tasks.cancel_scope.cancel()

            tasks.start_soon(read)
            await settled()
            peer.pairs[0].say(b"later")


@pytest.mark.parametrize("steps", range(6))
async def test_one_that_is_woken_for_its_turn_and_closed_meanwhile_passes_it_on(steps: int) -> None:
    peer = SteppingPeer()
    async with tunnel_to(peer) as tunnel:
        first, second, third = await opened(tunnel, 80, 81, 82)
        got: list[object] = []

        async def read(pair: Pair) -> None:
            try:
                got.append(await pair.receive())
            except anyio.ClosedResourceError:
                got.append(None)

        async with anyio.create_task_group() as tasks:
            scope = anyio.CancelScope()

            async def read_first() -> None:
                with scope:
                    await first.receive()

            tasks.start_soon(read_first)
            await settled()
            for pair in (second, third):
                tasks.start_soon(read, pair)
                await settled()
            # The first one leaves, the second one is to take over, and is closed before it can, or just after.
            scope.cancel()
            for _ in range(steps):
                await checkpoint()
            tasks.start_soon(second.aclose)
            await settled()
            peer.pairs[2].say(b"for the third")
            await peer.until(lambda: len(got) == 2)
        assert set(got) == {None, b"for the third"}


async def test_one_that_is_woken_for_its_turn_and_concluded_meanwhile_passes_it_on() -> None:
    peer = SteppingPeer()
    async with tunnel_to(peer) as tunnel:
        first, second, third = await opened(tunnel, 80, 81, 82)
        got: list[object] = []

        async def read(pair: Pair) -> None:
            try:
                got.append(await pair.receive())
            except PortForwardError:
                got.append(None)

        async with anyio.create_task_group() as tasks:
            scope = anyio.CancelScope()

            async def read_first() -> None:
                with scope:
                    await first.receive()
                second.conclude(second.error("failed", "too late"))  # as the keeper does when it has waited long enough

            tasks.start_soon(read_first)
            await settled()
            for pair in (second, third):
                tasks.start_soon(read, pair)
                await settled()
            scope.cancel()
            await settled()
            peer.pairs[2].say(b"for the third")
            await peer.until(lambda: len(got) == 2)
        assert set(got) == {None, b"for the third"}


@pytest.mark.parametrize("role", ["reader", "waiting"])
async def test_closing_ends_a_receive_of_another_task_at_once(role: str) -> None:
    peer = SteppingPeer()  # which says nothing at all
    async with tunnel_to(peer) as tunnel:
        first, second = await opened(tunnel, 80, 81)
        pair = first if role == "reader" else second
        async with anyio.create_task_group() as tasks:
            closed = anyio.Event()

            async def read(each: Pair) -> None:
                if each is pair:
                    with pytest.raises(anyio.ClosedResourceError):
                        await each.receive()
                    closed.set()
                else:
                    assert await each.receive() == b"still read"

            for each in (first, second):
                tasks.start_soon(read, each)
                await settled()
            await pair.aclose()
            await closed.wait()
            peer.pairs[1 if pair is first else 0].say(b"still read")
        with pytest.raises(anyio.ClosedResourceError):
            await pair.receive()


async def test_streams_that_are_gone_or_unknown_do_no_harm() -> None:
    peer = SteppingPeer()
    async with tunnel_to(peer) as tunnel:
        gone, there = await opened(tunnel, 80, 81)
        await gone.aclose()
        peer.pairs[0].end()
        await absorbed(tunnel, peer)
        peer.say(b"\x00\x00\x00\x03\x00\x00\x00\x02hi")  # of the first one, once more
        peer.pairs[1].say(b"fine")
        assert await there.receive() == b"fine"
        peer.say(b"\x00\x00\x00\x63\x00\x00\x00\x02hi")  # of one that never was
        with pytest.raises(PortForwardError, match="never opened"):
            await there.receive()


class Counting(Observer):
    def __init__(self) -> None:
        self.frames: list[tuple[bool, int]] = []
        self.endings: list[BaseException | None] = []

    def frame(self, path: str, *, sent: bool, channel: int, size: int) -> None:
        assert (path, channel) == (PATH, 0)
        self.frames.append((sent, size))

    def closed(self, path: str, error: BaseException | None) -> None:
        assert path == PATH
        self.endings.append(error)


@pytest.mark.parametrize("end", [None, TunnelPeer.lose], ids=["left", "lost"])
async def test_an_observer_is_told_of_messages_and_of_the_end(end: Callable[[TunnelPeer], None] | None) -> None:
    peer, observer = EchoPeer(), Counting()
    async with tunnel_to(peer, observer=observer) as tunnel:
        (pair,) = await opened(tunnel, 80)
        await pair.send(b"hello")
        assert await pair.receive() == b"hello"
        if end is not None:
            end(peer)
            await absorbed(tunnel, peer)
            await peer.until(lambda: peer.closed)
    assert [size for sent, size in observer.frames if sent][1] == 8 + 5
    assert (False, 8 + 5) in observer.frames
    (error,) = observer.endings
    assert (error is None) is (end is None)
