"""Streamed bodies over httpx, whose reading survives a cancellation."""

from __future__ import annotations

import anyio
import anyio.to_thread
import pytest

from kubex_stream.errors import KubexClientException
from kubex_stream.testing.conformance.raw import Peer, RawServer, response
from tests.backends.conftest import Prepare
from tests.backends.test_httpx_client import client_of

pytestmark = pytest.mark.anyio


async def test_a_cancelled_read_of_a_stream_goes_on(prepare: Prepare) -> None:
    count = 300

    def handle(peer: Peer) -> None:
        peer.head()
        peer.send(response("200 OK", None, "Transfer-Encoding: chunked"))
        for number in range(count):
            chunk = b"4\r\n%04d\r\n" % number
            peer.send(chunk[: number % 9])
            peer.send(chunk[number % 9 :])
        peer.send(b"0\r\n\r\n")
        peer.rest()

    content = b""
    with RawServer(handle) as server:
        async with client_of() as client:
            stream = await client.open_stream(prepare(server.url))
            pieces = aiter(stream)
            ended = False
            while not ended:
                with anyio.move_on_after(0.0003):
                    try:
                        content += await anext(pieces)
                    except StopAsyncIteration:
                        ended = True
            await stream.aclose()
    assert content == b"".join(b"%04d" % number for number in range(count))


async def test_a_stream_is_left_after_a_cancelled_read(prepare: Prepare) -> None:
    def handle(peer: Peer) -> None:
        peer.head()
        peer.send(response("200 OK", None, "Transfer-Encoding: chunked") + b"3\r\nabc\r\n5\r\nab")
        assert peer.rest() == b""

    with RawServer(handle) as server:
        async with client_of() as client:
            stream = await client.open_stream(prepare(server.url))
            pieces = aiter(stream)
            received = b""
            with anyio.move_on_after(0.2) as scope:
                while True:
                    received += await anext(pieces)
            assert scope.cancelled_caught
            assert received == b"abcab"
            await stream.aclose()


async def test_chunks_that_have_arrived_are_one_piece(prepare: Prepare) -> None:
    def handle(peer: Peer) -> None:
        peer.head()
        chunks = b"".join(b"5\r\n%04d\n\r\n" % number for number in range(100))
        peer.send(response("200 OK", None, "Transfer-Encoding: chunked") + chunks)
        peer.rest()

    with RawServer(handle) as server:
        async with client_of() as client:
            stream = await client.open_stream(prepare(server.url))
            assert await anext(aiter(stream)) == b"".join(b"%04d\n" % number for number in range(100))
            await stream.aclose()


@pytest.mark.parametrize("end", [b"0\r\n\r\n", b"", b"no size\r\n"], ids=["end", "cut", "nonsense"])
async def test_what_ends_a_body_is_told_behind_the_pieces_before_it(prepare: Prepare, end: bytes) -> None:
    def handle(peer: Peer) -> None:
        peer.head()
        peer.send(response("200 OK", None, "Transfer-Encoding: chunked") + b"3\r\nabc\r\n3\r\ndef\r\n" + end)

    with RawServer(handle) as server:
        async with client_of() as client:
            stream = await client.open_stream(prepare(server.url))
            pieces, received, ended = aiter(stream), b"", False
            while not ended:
                try:
                    received += await anext(pieces)
                except (StopAsyncIteration, KubexClientException):
                    ended = True
            assert received == b"abcdef"
            with pytest.raises(StopAsyncIteration if end.startswith(b"0") else KubexClientException):
                await anext(pieces)
            await stream.aclose()
