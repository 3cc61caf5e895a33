"""Plain requests."""

from __future__ import annotations

import gzip
import threading
import warnings
from collections.abc import Callable

import anyio
import pytest

from kubex_stream.client import Response
from kubex_stream.core.params import Timeout
from kubex_stream.errors import ConnectionLost, StreamTimeout
from kubex_stream.testing.conformance.answers import CUT, answers, answers_once
from kubex_stream.testing.conformance.base import Conformance, OpenClient, Prepare
from kubex_stream.testing.conformance.claims import needs
from kubex_stream.testing.conformance.raw import Head, Peer, RawServer, response

__all__ = ("Requests",)


class Requests(Conformance):
    """Plain requests."""

    @pytest.mark.parametrize("status", [200, 201, 204, 301, 404, 500, 503])
    async def test_any_status_is_a_response(self, client_for: OpenClient, prepare: Prepare, status: int) -> None:
        body = b"" if status == 204 else b'{"a": 1}'
        head = response(
            f"{status} Reason",
            None if status == 204 else body,
            "X-Some: Thing",
            "X-some: other",
            "Location: /elsewhere",
        )
        with RawServer(answers(head)) as server:
            async with client_for() as client:
                answer = await client.send_request(prepare(server.url + "/a"))
        assert isinstance(answer, Response)
        assert (answer.status_code, answer.content) == (status, body)
        assert [value for name, value in answer.headers if name == "x-some"] == ["Thing", "other"]
        assert server.connections == 1

    async def test_what_is_sent(self, client_for: OpenClient, prepare: Prepare) -> None:
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
    async def test_bodies(self, client_for: OpenClient, prepare: Prepare, encoding: str) -> None:
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

    @pytest.mark.parametrize(("pieces", "end"), CUT)
    async def test_a_body_that_is_cut_short(
        self, client_for: OpenClient, prepare: Prepare, pieces: list[bytes], end: Callable[[Peer], object]
    ) -> None:
        with RawServer(answers_once(*pieces, end=end)) as server:
            async with client_for() as client:
                with pytest.raises(ConnectionLost) as caught:
                    await client.send_request(prepare(server.url + "/x?secret", method="POST", body=b"{}"))
        assert "secret" not in str(caught.value)

    @pytest.mark.parametrize("end", [Peer.finish, Peer.reset])
    async def test_no_answer(self, client_for: OpenClient, prepare: Prepare, end: Callable[[Peer], object]) -> None:
        with RawServer(answers_once(end=end)) as server:
            async with client_for() as client:
                with pytest.raises(ConnectionLost):
                    await client.send_request(prepare(server.url, method="POST"))

    @pytest.mark.parametrize(("keep_alive", "connections"), [(True, 1), (False, 5)])
    @needs("pool")
    async def test_connections_are_used_again_or_not(
        self, client_for: OpenClient, prepare: Prepare, keep_alive: bool, connections: int
    ) -> None:
        with RawServer(answers(response("200 OK", b"a"))) as server:
            async with client_for(keep_alive=keep_alive) as client:
                for _ in range(5):
                    assert (await client.send_request(prepare(server.url))).content == b"a"
        assert server.connections == connections

    @needs("pool")
    async def test_the_pool_is_limited(self, client_for: OpenClient, prepare: Prepare) -> None:
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

    async def test_a_cancelled_request_leaves_nothing(self, client_for: OpenClient, prepare: Prepare) -> None:
        def handle(peer: Peer) -> None:
            peer.head()
            assert peer.rest() == b""

        with RawServer(handle) as server:
            async with client_for() as client:
                with anyio.move_on_after(0.2) as scope:
                    await client.send_request(prepare(server.url))
                assert scope.cancelled_caught

    @pytest.mark.parametrize("phase", [Timeout(read=0.2), Timeout(30, read=0.2)])
    async def test_a_server_that_is_too_slow(self, client_for: OpenClient, prepare: Prepare, phase: Timeout) -> None:
        for pieces in ([], [response("200 OK", b"abc")[:-1]]):
            with RawServer(answers_once(*pieces, end=Peer.rest)) as server:
                async with client_for() as client:
                    with anyio.fail_after(10), pytest.raises(StreamTimeout) as caught:
                        await client.send_request(prepare(server.url + "/x?secret", timeout=phase))
            assert "secret" not in str(caught.value)

    async def test_defaults_warn_of_nothing(self, client_for: OpenClient) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            async with client_for():
                pass
