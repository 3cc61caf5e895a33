"""Responses that are read as they come."""

from __future__ import annotations

import threading
from collections.abc import Callable

import anyio
import pytest

from kubex_stream.client import StreamedResponse
from kubex_stream.core.params import Timeout
from kubex_stream.errors import ConnectionLost, StreamTimeout
from kubex_stream.testing.conformance.answers import CUT, answers_once
from kubex_stream.testing.conformance.base import Conformance, OpenClient, Prepare
from kubex_stream.testing.conformance.raw import Peer, RawServer, response

__all__ = ("Streams",)


class Streams(Conformance):
    """Responses that are read as they come."""

    async def test_pieces_come_as_they_are_sent(self, client_for: OpenClient, prepare: Prepare) -> None:
        steps = [threading.Event() for _ in range(3)]

        def handle(peer: Peer) -> None:
            peer.head()
            peer.send(response("200 OK", None, "Transfer-Encoding: chunked", "X-Some: Thing"))
            for number, step in enumerate(steps):
                assert step.wait(20)
                peer.send(b"3\r\nab%d\r\n" % number)
            peer.send(b"0\r\n\r\n")
            peer.rest()

        with RawServer(handle) as server:
            async with client_for() as client:
                # The phases end with the head.
                stream = await client.open_stream(prepare(server.url, timeout=Timeout(read=0.1)))
                assert isinstance(stream, StreamedResponse)
                assert stream.status_code == 200
                assert ("x-some", "Thing") in stream.headers
                for number, step in enumerate(steps):
                    await anyio.sleep(0.15)
                    step.set()
                    assert await anext(aiter(stream)) == b"ab%d" % number
                assert [piece async for piece in stream] == []
                await stream.aclose()
                await stream.aclose()

    async def test_a_quiet_stream_outlives_the_read_timeout(self, client_for: OpenClient, prepare: Prepare) -> None:
        step = threading.Event()

        def handle(peer: Peer) -> None:
            peer.head()
            peer.send(response("200 OK"))
            assert step.wait(20)
            peer.send(b"late")
            peer.finish()
            peer.rest()

        with RawServer(handle) as server:
            async with client_for() as client:
                stream = await client.open_stream(prepare(server.url, timeout=Timeout(read=0.2)))
                async with anyio.create_task_group() as group:

                    async def later() -> None:
                        await anyio.sleep(0.3)
                        step.set()

                    group.start_soon(later)
                    assert [piece async for piece in stream] == [b"late"]
                await stream.aclose()

    async def test_the_head_of_a_stream_has_the_read_timeout(self, client_for: OpenClient, prepare: Prepare) -> None:
        with RawServer(answers_once(end=Peer.rest)) as server:
            async with client_for() as client:
                with anyio.fail_after(10), pytest.raises(StreamTimeout):
                    await client.open_stream(prepare(server.url, timeout=Timeout(read=0.2)))

    @pytest.mark.parametrize("slow", [False, True])
    @pytest.mark.parametrize(("pieces", "end"), CUT)
    async def test_a_stream_that_is_cut_short_gives_all_that_came(
        self, client_for: OpenClient, prepare: Prepare, pieces: list[bytes], end: Callable[[Peer], object], slow: bool
    ) -> None:
        if end is Peer.reset and slow:
            end = Peer.finish  # an RST makes the kernel forget what was not read yet
        read = threading.Event()

        def handle(peer: Peer) -> None:
            peer.head()
            for piece in pieces:
                peer.send(piece)
            if not slow:
                assert read.wait(20)
            end(peer)
            if end is not Peer.reset:
                peer.rest()

        with RawServer(handle) as server:
            async with client_for() as client:
                stream = await client.open_stream(prepare(server.url))
                if slow:
                    await anyio.sleep(0.1)
                taken: list[bytes] = []

                async def take() -> None:
                    async for piece in stream:
                        taken.append(piece)
                        read.set()

                for _ in range(2):
                    with pytest.raises(ConnectionLost):
                        await take()
                await stream.aclose()
        assert all(taken)
        assert b"".join(taken) in (b"x" * 99, b"abcde", b"abc")

    async def test_a_cancelled_read_of_a_stream_loses_nothing_in_silence(
        self, client_for: OpenClient, prepare: Prepare
    ) -> None:
        """It goes on with what comes next, or it cannot go on and says so."""
        count = 200

        def handle(peer: Peer) -> None:
            peer.head()
            peer.send(response("200 OK", None, "Transfer-Encoding: chunked"))
            for number in range(count):
                peer.send(b"4\r\n%04d\r\n" % number)
            peer.send(b"0\r\n\r\n")
            peer.rest()

        everything = b"".join(b"%04d" % number for number in range(count))
        content = b""
        with RawServer(handle) as server:
            async with client_for() as client:
                stream = await client.open_stream(prepare(server.url))
                pieces = aiter(stream)
                for attempt in range(100_000):
                    with anyio.move_on_after(0 if attempt % 3 else 0.0005):
                        try:
                            content += await anext(pieces)
                        except StopAsyncIteration:
                            assert content == everything
                            break
                        except ConnectionLost:
                            assert everything.startswith(content)
                            with pytest.raises(ConnectionLost):
                                await anext(pieces)
                            break
                await stream.aclose()

    async def test_a_stream_is_left_in_the_middle(self, client_for: OpenClient, prepare: Prepare) -> None:
        def handle(peer: Peer) -> None:
            peer.head()
            peer.send(response("200 OK", b"abc", "X-Long: 1").replace(b"Content-Length: 3", b"Content-Length: 1000"))
            assert peer.rest() == b""

        with RawServer(handle) as server:
            async with client_for() as client:
                stream = await client.open_stream(prepare(server.url))
                assert await anext(aiter(stream)) == b"abc"
                await stream.aclose()

    async def test_streams_do_not_count_against_the_pool(self, client_for: OpenClient, prepare: Prepare) -> None:
        def handle(peer: Peer) -> None:
            head = peer.head()
            peer.send(response("200 OK", b"plain") if head.target == "/plain" else response("200 OK"))
            peer.rest()

        with RawServer(handle) as server:
            async with client_for(pool_size=1) as client:
                with anyio.fail_after(20):
                    streams = [await client.open_stream(prepare(server.url)) for _ in range(110)]
                    assert (await client.send_request(prepare(server.url + "/plain"))).content == b"plain"
                for stream in streams:
                    await stream.aclose()

    async def test_closing_the_client_ends_open_streams(self, client_for: OpenClient, prepare: Prepare) -> None:
        with RawServer(answers_once(response("200 OK"), end=Peer.rest)) as server:
            async with client_for() as client:
                stream = await client.open_stream(prepare(server.url))
            with pytest.raises(ConnectionLost):
                await anext(aiter(stream))
            await stream.aclose()
