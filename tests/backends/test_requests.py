"""Plain requests and streamed responses."""

from __future__ import annotations

import gzip
import threading
import warnings
from collections.abc import Callable

import anyio
import pytest

from kubex_stream.client import Response, StreamedResponse
from kubex_stream.core.params import Timeout
from kubex_stream.errors import ConnectionLost, StreamTimeout
from tests.backends.conftest import OpenClient, Prepare
from tests.backends.raw import Head, Peer, RawServer, response

pytestmark = pytest.mark.anyio


def answers(*pieces: bytes, heads: list[Head] | None = None) -> Callable[[Peer], None]:
    """A server that answers each request of a connection with these, and ends it when no more come."""

    def handle(peer: Peer) -> None:
        while peer.has_request():
            head = peer.head()
            if heads is not None:
                heads.append(head)
            for piece in pieces:
                peer.send(piece)

    return handle


def answers_once(*pieces: bytes, end: Callable[[Peer], object] = Peer.finish) -> Callable[[Peer], None]:
    def handle(peer: Peer) -> None:
        peer.head()
        for piece in pieces:
            peer.send(piece)
        end(peer)
        if end is not Peer.reset:
            peer.rest()

    return handle


# Plain ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 201, 204, 301, 404, 500, 503])
async def test_any_status_is_a_response(client_for: OpenClient, prepare: Prepare, status: int) -> None:
    body = b"" if status == 204 else b'{"a": 1}'
    head = response(
        f"{status} Reason", None if status == 204 else body, "X-Some: Thing", "X-some: other", "Location: /elsewhere"
    )
    with RawServer(answers(head)) as server:
        async with client_for() as client:
            answer = await client.send_request(prepare(server.url + "/a"))
    assert isinstance(answer, Response)
    assert (answer.status_code, answer.content) == (status, body)
    assert [value for name, value in answer.headers if name == "x-some"] == ["Thing", "other"]
    assert server.connections == 1


async def test_what_is_sent(client_for: OpenClient, prepare: Prepare) -> None:
    heads: list[Head] = []
    bodies: list[bytes] = []

    def handle(peer: Peer) -> None:
        heads.append(peer.head())
        bodies.append(peer.read(int(heads[0].one("Content-Length"))))
        peer.send(response("200 OK", b""))
        peer.rest()

    headers = [("Content-Type", "application/json"), ("Impersonate-Group", "a"), ("Impersonate-Group", "b")]
    target = "/prefix/api/v1/a%2Fb?x=%20&x=+&y=%C3%A9"
    with RawServer(handle) as server:
        async with client_for() as client:
            await client.send_request(prepare(server.url + target, method="POST", headers=headers, body=b'{"b":2}'))
    (head,) = heads
    assert (head.method, head.target) == ("POST", target)
    assert [pair for pair in head.headers if pair in headers] == headers
    assert (head.one("Content-Type"), head.one("Host"), bodies) == ("application/json", server.netloc, [b'{"b":2}'])


@pytest.mark.parametrize("encoding", ["chunked", "gzip", "eof"])
async def test_bodies(client_for: OpenClient, prepare: Prepare, encoding: str) -> None:
    body = bytes(range(256)) * 300
    pieces = {
        "chunked": [
            response("200 OK", None, "Transfer-Encoding: chunked"),
            b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body),
        ],
        "gzip": [response("200 OK", gzip.compress(body), "Content-Encoding: gzip")],
        "eof": [response("200 OK"), body],
    }[encoding]
    with RawServer(answers_once(*pieces)) as server:
        async with client_for() as client:
            assert (await client.send_request(prepare(server.url))).content == body


CUT = [
    pytest.param([response("200 OK", b"x" * 100)[:-1]], Peer.finish, id="length-fin"),
    pytest.param([response("200 OK", b"x" * 100)[:-1]], Peer.reset, id="length-rst"),
    pytest.param(
        [response("200 OK", None, "Transfer-Encoding: chunked"), b"5\r\nabcde\r\n"], Peer.finish, id="chunked-fin"
    ),
    pytest.param([response("200 OK", None, "Transfer-Encoding: chunked"), b"5\r\nabc"], Peer.finish, id="chunk-fin"),
]


@pytest.mark.parametrize(("pieces", "end"), CUT)
async def test_a_body_that_is_cut_short(
    client_for: OpenClient, prepare: Prepare, pieces: list[bytes], end: Callable[[Peer], object]
) -> None:
    with RawServer(answers_once(*pieces, end=end)) as server:
        async with client_for() as client:
            with pytest.raises(ConnectionLost) as caught:
                await client.send_request(prepare(server.url + "/x?secret", method="POST", body=b"{}"))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("end", [Peer.finish, Peer.reset])
async def test_no_answer(client_for: OpenClient, prepare: Prepare, end: Callable[[Peer], object]) -> None:
    with RawServer(answers_once(end=end)) as server:
        async with client_for() as client:
            with pytest.raises(ConnectionLost):
                await client.send_request(prepare(server.url, method="POST"))


@pytest.mark.parametrize(("keep_alive", "connections"), [(True, 1), (False, 5)])
async def test_connections_are_used_again_or_not(
    client_for: OpenClient, prepare: Prepare, keep_alive: bool, connections: int
) -> None:
    with RawServer(answers(response("200 OK", b"a"))) as server:
        async with client_for(keep_alive=keep_alive) as client:
            for _ in range(5):
                assert (await client.send_request(prepare(server.url))).content == b"a"
    assert server.connections == connections


async def test_the_pool_is_limited(client_for: OpenClient, prepare: Prepare) -> None:
    lock, most, now = threading.Lock(), [0], [0]

    def handle(peer: Peer) -> None:
        while peer.has_request():
            peer.head()
            with lock:
                now[0] += 1
                most[0] = max(most[0], now[0])
            threading.Event().wait(0.02)
            with lock:
                now[0] -= 1
            peer.send(response("200 OK", b""))

    with RawServer(handle) as server:
        async with client_for(pool_size=2) as client, anyio.create_task_group() as group:
            for _ in range(10):
                group.start_soon(client.send_request, prepare(server.url))
    assert most == [2]
    assert server.connections == 2


async def test_a_cancelled_request_leaves_nothing(client_for: OpenClient, prepare: Prepare) -> None:
    def handle(peer: Peer) -> None:
        peer.head()
        assert peer.rest() == b""

    with RawServer(handle) as server:
        async with client_for() as client:
            with anyio.move_on_after(0.2) as scope:
                await client.send_request(prepare(server.url))
            assert scope.cancelled_caught


@pytest.mark.parametrize("phase", [Timeout(read=0.2), Timeout(30, read=0.2)])
async def test_a_server_that_is_too_slow(client_for: OpenClient, prepare: Prepare, phase: Timeout) -> None:
    for pieces in ([], [response("200 OK", b"abc")[:-1]]):
        with RawServer(answers_once(*pieces, end=Peer.rest)) as server:
            async with client_for() as client:
                with anyio.fail_after(10), pytest.raises(StreamTimeout) as caught:
                    await client.send_request(prepare(server.url + "/x?secret", timeout=phase))
        assert "secret" not in str(caught.value)


# Streamed -------------------------------------------------------------------------------------------------------------


async def test_pieces_come_as_they_are_sent(client_for: OpenClient, prepare: Prepare) -> None:
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
            stream = await client.open_stream(prepare(server.url, timeout=Timeout(read=0.3)))
            assert isinstance(stream, StreamedResponse)
            assert stream.status_code == 200
            assert ("x-some", "Thing") in stream.headers
            for number, step in enumerate(steps):
                await anyio.sleep(0.4)
                step.set()
                assert await anext(aiter(stream)) == b"ab%d" % number
            assert [piece async for piece in stream] == []
            await stream.aclose()
            await stream.aclose()


async def test_a_quiet_stream_outlives_the_read_timeout(client_for: OpenClient, prepare: Prepare) -> None:
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
                    await anyio.sleep(0.6)
                    step.set()

                group.start_soon(later)
                assert [piece async for piece in stream] == [b"late"]
            await stream.aclose()


async def test_the_head_of_a_stream_has_the_read_timeout(client_for: OpenClient, prepare: Prepare) -> None:
    with RawServer(answers_once(end=Peer.rest)) as server:
        async with client_for() as client:
            with anyio.fail_after(10), pytest.raises(StreamTimeout):
                await client.open_stream(prepare(server.url, timeout=Timeout(read=0.2)))


@pytest.mark.parametrize("slow", [False, True])
@pytest.mark.parametrize(("pieces", "end"), CUT)
async def test_a_stream_that_is_cut_short_gives_all_that_came(
    client_for: OpenClient, prepare: Prepare, pieces: list[bytes], end: Callable[[Peer], object], slow: bool
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


async def test_a_cancelled_read_of_a_stream_loses_nothing_in_silence(client_for: OpenClient, prepare: Prepare) -> None:
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


async def test_a_stream_is_left_in_the_middle(client_for: OpenClient, prepare: Prepare) -> None:
    def handle(peer: Peer) -> None:
        peer.head()
        peer.send(response("200 OK", b"abc", "X-Long: 1").replace(b"Content-Length: 3", b"Content-Length: 1000"))
        assert peer.rest() == b""

    with RawServer(handle) as server:
        async with client_for() as client:
            stream = await client.open_stream(prepare(server.url))
            assert await anext(aiter(stream)) == b"abc"
            await stream.aclose()


async def test_streams_do_not_count_against_the_pool(client_for: OpenClient, prepare: Prepare) -> None:
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


async def test_closing_the_client_ends_open_streams(client_for: OpenClient, prepare: Prepare) -> None:
    with RawServer(answers_once(response("200 OK"), end=Peer.rest)) as server:
        async with client_for() as client:
            stream = await client.open_stream(prepare(server.url))
        with pytest.raises(ConnectionLost):
            await anext(aiter(stream))
        await stream.aclose()


# Options --------------------------------------------------------------------------------------------------------------


async def test_defaults_warn_of_nothing(client_for: OpenClient) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        async with client_for():
            pass
