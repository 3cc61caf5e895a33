"""How a connection of a tunnel ends: the server's verdict, what breaks it, and that everything that came is handed out first."""

from __future__ import annotations

import time
import zlib
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import anyio
import pytest

from kubex_stream import ClientOptions, PortForwardError
from kubex_stream.errors import PortForwardFailure
from kubex_stream.protocol.spdy import encode_syn_reply
from kubex_stream.protocol.spdy_headers import DICTIONARY
from kubex_stream.session.conduit import EndOfInput
from kubex_stream.session.pair import Pair
from tests.session.test_turns import settled
from tests.session.tunnel_peer import (
    AT_ONCE,
    REFUSED,
    PeerPair,
    SteppingPeer,
    TunnelPeer,
    absorbed,
    everything,
    opened,
    tunnel_to,
)

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def one(
    peer: TunnelPeer | None = None, *, end: EndOfInput = AT_ONCE
) -> AsyncGenerator[tuple[Pair, PeerPair, TunnelPeer], None]:
    """One connection, and the server's end of it."""
    peer = peer or SteppingPeer()
    async with tunnel_to(peer) as tunnel:
        (pair,) = await opened(tunnel, 80, end=end)
        yield pair, peer.pairs[0], peer


async def ending(pair: Pair) -> tuple[bytes, PortForwardError | None]:
    """What comes until the end, and what the end is; it stays so."""
    data = b""
    while True:
        try:
            data += await pair.receive()
        except anyio.EndOfStream:
            with pytest.raises(anyio.EndOfStream):
                await pair.receive()
            return data, None
        except PortForwardError as error:
            with pytest.raises(PortForwardError) as again:
                await pair.receive()
            assert again.value is error  # noqa: PT017
            return data, error


def text_and_both_resets(served: PeerPair) -> None:
    served.complain("network namespace for sandbox 5b2f is closed")
    served.reset_data()
    served.reset_errors()


def both_resets(served: PeerPair) -> None:
    served.reset_data()
    served.reset_errors()


def errors_reset_only(served: PeerPair) -> None:
    served.reset_errors()


def ended_data_and_reset_errors(served: PeerPair) -> None:
    served.end_data()
    served.reset_errors()


def text_in_pieces(served: PeerPair) -> None:
    served.end_data()
    for char in REFUSED:
        served.complain(char)
    served.end_errors()


def text_without_the_end_of_data(served: PeerPair) -> None:
    served.complain("something odd")
    served.end_errors()


VERDICTS: list[tuple[Callable[[PeerPair], None], PortForwardFailure]] = [
    (PeerPair.refuse, "refused"),
    (text_and_both_resets, "gone"),
    (both_resets, "reset"),
    (errors_reset_only, "reset"),
    (ended_data_and_reset_errors, "reset"),
    (text_in_pieces, "refused"),
    (text_without_the_end_of_data, "failed"),
]


@pytest.mark.parametrize("order", ["data first", "errors first"])
async def test_an_end_in_order_is_the_end_of_both_streams(order: str) -> None:
    async with one() as (pair, served, peer):
        served.say(b"last words")
        first, second = served.end_data, served.end_errors
        if order == "errors first":
            first, second = second, first
        first()
        assert await pair.receive() == b"last words"
        await absorbed(pair.tunnel, peer)
        assert not pair.over
        second()
        assert await ending(pair) == (b"", None)


@pytest.mark.parametrize(("speak", "kind"), VERDICTS, ids=lambda value: getattr(value, "__name__", str(value)))
@pytest.mark.parametrize("joined", [False, True])
async def test_a_verdict_comes_after_everything_that_came(
    speak: Callable[[PeerPair], None], kind: PortForwardFailure, joined: bool
) -> None:
    async with one() as (pair, served, peer):
        if joined:
            with peer.one_message():
                served.say(b"one")
                served.say(b"two")
                speak(served)
        else:
            served.say(b"one")
            served.say(b"two")
            speak(served)
        data, error = await ending(pair)
        assert data == b"onetwo"
        assert error is not None
        assert (error.kind, error.port) == (kind, 80)
        assert "5b2f" not in str(error)
        with pytest.raises(PortForwardError) as sending:
            await pair.send(b"x")
        assert sending.value is error
        assert pair.tunnel.usable
        (next_one,) = await opened(pair.tunnel, 81)
        peer.pairs[1].say(b"fine")
        assert await next_one.receive() == b"fine"


async def test_a_verdict_in_messages_of_one_byte() -> None:
    peer = TunnelPeer()
    peer.piece = 1
    async with one(peer) as (pair, served, _):
        served.say(b"data in pieces")
        served.refuse()
        data, error = await ending(pair)
        assert data == b"data in pieces"
        assert error is not None
        assert error.kind == "refused"


async def test_an_error_stream_that_never_ends_is_not_waited_for_for_ever() -> None:
    async with one() as (pair, served, peer):
        served.say(b"data")
        served.end_data()
        assert await pair.receive() == b"data"
        await absorbed(pair.tunnel, peer)
        due = pair.due()
        assert due is not None
        assert 5 < due - time.monotonic() <= 10
        pair.look()  # what the keeper does then
        data, error = await ending(pair)
        assert data == b""
        assert error is not None
        assert error.kind == "failed"
        assert "without saying" in str(error)


def closes(peer: TunnelPeer) -> None:
    peer.finish()


def breaks(peer: TunnelPeer) -> None:
    peer.lose("cable cut", close_code=1006)


def fails_oddly(peer: TunnelPeer) -> None:
    peer.fail(ZeroDivisionError("of a transport"))


def says_garbage(peer: TunnelPeer) -> None:
    peer.say(b"\x80\x03\x00\x05" + bytes(20))


def bombs(peer: TunnelPeer) -> None:
    zeros = zlib.compressobj(9, zdict=DICTIONARY)
    peer.say(encode_syn_reply(3, zeros.compress(bytes(10_000_000)) + zeros.flush(zlib.Z_SYNC_FLUSH)))


ENDS_OF_TUNNELS: list[tuple[Callable[[TunnelPeer], None], str]] = [
    (closes, "the server closed it"),
    (breaks, "cable cut"),
    (fails_oddly, "ZeroDivisionError"),
    (says_garbage, "broke the protocol"),
    (bombs, "broke the protocol"),
    (TunnelPeer.go_away, "GOAWAY"),
]


@pytest.mark.parametrize(("end", "text"), ENDS_OF_TUNNELS, ids=lambda value: getattr(value, "__name__", None))
async def test_a_lost_tunnel_is_an_error_of_all_its_connections_after_what_came(
    end: Callable[[TunnelPeer], None], text: str
) -> None:
    peer = SteppingPeer()
    async with tunnel_to(peer) as tunnel:
        pairs = await opened(tunnel, 80, 81, 82)
        endings: dict[int, tuple[bytes, PortForwardError | None]] = {}

        async def read(pair: Pair) -> None:
            endings[pair.port] = await ending(pair)

        async with anyio.create_task_group() as tasks:
            for pair in pairs[:2]:
                tasks.start_soon(read, pair)
            await settled()
            for served in peer.pairs:
                served.say(b"in time")
            end(peer)
        await absorbed(tunnel, peer)
        await read(pairs[2])  # which nobody was reading
        for data, error in endings.values():
            assert data == b"in time"
            assert error is not None
            assert error.kind == "lost"
            assert text in str(error)
        with pytest.raises(PortForwardError) as caught:
            await pairs[0].send(b"x")
        assert caught.value.kind == "lost"
        await peer.until(lambda: peer.closed)
        for pair in pairs:
            await pair.aclose()


async def test_a_text_that_came_before_the_tunnel_was_lost_is_what_counts() -> None:
    async with one() as (pair, served, peer):
        served.complain(REFUSED)
        peer.lose()
        _, error = await ending(pair)
        assert error is not None
        assert error.kind == "refused"


async def test_an_end_in_order_stays_one_when_the_tunnel_is_lost_afterwards() -> None:
    async with one() as (pair, served, peer):
        served.say(b"all")
        served.end()
        peer.lose()
        await absorbed(pair.tunnel, peer)
        assert await ending(pair) == (b"all", None)


async def test_leaving_the_tunnel_ends_its_connections_with_an_error() -> None:
    peer = SteppingPeer()
    found: list[tuple[bytes, PortForwardError | None]] = []

    async def read(pair: Pair) -> None:
        found.append(await ending(pair))

    async with anyio.create_task_group() as tasks:
        async with tunnel_to(peer) as tunnel:
            pairs = await opened(tunnel, 80, 81)
            for pair in pairs:
                tasks.start_soon(read, pair)
            await settled()
    assert [error.kind for _, error in found if error is not None] == ["lost", "lost"]
    assert "closed on this side" in str(found[0][1])
    assert peer.closed_with == 1000


async def test_what_is_left_of_a_long_answer_is_handed_out_after_the_tunnel_has_gone() -> None:
    peer = SteppingPeer()
    options = ClientOptions(heartbeat=None, stream_buffer_size=1000)
    async with tunnel_to(peer, options) as tunnel:
        first, second = await opened(tunnel, 80, 81)
        expected = b"".join(bytes([number]) * 700 for number in range(40))
        for start in range(0, len(expected), 700):
            peer.pairs[0].say(expected[start : start + 700])
        peer.pairs[0].end()
        peer.pairs[1].say(b"x")
        assert await second.receive() == b"x"  # reads all of the other one's
        peer.lose()
        await absorbed(tunnel, peer)
        assert first.statistics.spooled > 0
        assert await everything(first) == expected
        await first.aclose()
