"""Opening a WebSocket: what is sent, and what becomes of each answer."""

from __future__ import annotations

import anyio
import pytest

from kubex_stream.client import Response, WebSocketConnection
from kubex_stream.core.params import Timeout
from kubex_stream.errors import ConnectionLost, KubexClientException, ProtocolViolation, StreamTimeout
from kubex_stream.testing.conformance.base import Conformance, OpenClient, Prepare
from kubex_stream.testing.conformance.claims import needs
from kubex_stream.testing.conformance.raw import Head, Peer, RawServer, frame, response

__all__ = ("Handshakes",)


OFFER = ["v5.channel.k8s.io", "v4.channel.k8s.io"]


async def answer_to(
    client_for: OpenClient, prepare: Prepare, *pieces: bytes, stay: bool = False
) -> WebSocketConnection | Response:
    """What a handshake becomes that is answered by ``pieces``."""

    def handle(peer: Peer) -> None:
        peer.head()
        for piece in pieces:
            peer.send(piece)
        if not stay:
            peer.finish()
        peer.rest()

    with RawServer(handle) as server:
        async with client_for(server.url) as client:
            with anyio.fail_after(20):
                return await client.open_websocket(prepare(server.url + "/x?command=secret"), OFFER)


STATUS = b'{"kind":"Status","status":"Failure","message":"pods \\"p\\" not found","code":404}'


ACCEPT = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


class Handshakes(Conformance):
    """Opening a WebSocket: what is sent, and what becomes of each answer."""

    async def test_the_request_is_what_a_server_expects(self, client_for: OpenClient, prepare: Prepare) -> None:
        heads: list[Head] = []

        def handle(peer: Peer) -> None:
            heads.append(peer.accept("v5.channel.k8s.io"))
            peer.rest()

        headers = [
            ("Authorization", "Bearer t"),
            ("Impersonate-User", "u"),
            ("Impersonate-Group", "a"),
            ("Impersonate-Group", "b"),
        ]
        target = "/k8s/clusters/c-1/api/v1/pods/p%2Fq/exec?command=a+b&command=%2B%C3%A9%25&x=~'()"
        with RawServer(handle) as server:
            async with client_for() as client:
                websocket = await client.open_websocket(prepare(server.url + target, headers=headers), OFFER)
                assert isinstance(websocket, WebSocketConnection)
                assert websocket.negotiated_subprotocol == "v5.channel.k8s.io"
                assert not websocket.closed
                await websocket.abort()
        (head,) = heads
        assert (head.method, head.target) == ("GET", target)
        assert head.one("Host") == server.netloc
        assert head.one("Upgrade").lower() == "websocket"
        assert head.one("Connection").lower() == "upgrade"
        assert head.one("Sec-WebSocket-Version") == "13"
        assert [name.strip() for name in head.one("Sec-WebSocket-Protocol").split(",")] == OFFER
        assert head.all("Sec-WebSocket-Extensions") == []
        assert [pair for pair in head.headers if pair in headers] == headers
        assert (head.one("Accept"), head.one("User-Agent")) == ("*/*", "test")
        assert head.all("Cookie") == []

    async def test_ipv6_literal(self, client_for: OpenClient, prepare: Prepare) -> None:
        heads: list[Head] = []

        def handle(peer: Peer) -> None:
            heads.append(peer.accept())
            peer.rest()

        with RawServer(handle, host="::1") as server:
            async with client_for() as client:
                websocket = await client.open_websocket(prepare(server.url + "/"), OFFER)
                assert isinstance(websocket, WebSocketConnection)
                await websocket.abort()
        assert heads[0].one("Host") == server.netloc

    @pytest.mark.parametrize(
        ("pieces", "status", "body"),
        [
            pytest.param(
                [response("404 Not Found", STATUS, "Content-Type: application/json")], 404, STATUS, id="length"
            ),
            pytest.param([response("400 Bad Request"), b"bad ", b"method"], 400, b"bad method", id="until-eof"),
            pytest.param(
                [response("500 Oops", None, "Transfer-Encoding: chunked"), b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"],
                500,
                b"abcde",
                id="chunked",
            ),
            pytest.param([response("403 Forbidden")], 403, b"", id="bodyless"),
            pytest.param([response("403 Forbidden", None, "Connection: close")], 403, b"", id="bodyless-close"),
            pytest.param([response("200 OK", b"hello")], 200, b"hello", id="ok"),
            pytest.param([response("429 Slow down", b"", "Retry-After: 7")], 429, b"", id="empty"),
            pytest.param([response("500 Oops", b"x" * 100_000)], 500, b"x" * 65536, id="large"),
            pytest.param(
                [response("302 Found", b"", "Location: http://127.0.0.1:1/elsewhere")], 302, b"", id="redirect"
            ),
            pytest.param([b"HTTP/1.1 403 Forbidden\r\n\r\n"], 403, b"", id="as-x-net-writes-it"),
        ],
    )
    async def test_a_refusal_is_a_response(
        self, client_for: OpenClient, prepare: Prepare, pieces: list[bytes], status: int, body: bytes
    ) -> None:
        answer = await answer_to(client_for, prepare, *pieces)
        assert isinstance(answer, Response)
        assert (answer.status_code, answer.content[:65536]) == (status, body)
        assert all(name == name.lower() for name, _ in answer.headers)

    async def test_a_refusal_on_a_connection_that_stays_open(self, client_for: OpenClient, prepare: Prepare) -> None:
        answer = await answer_to(client_for, prepare, response("403 Forbidden", STATUS, "Warning: 299 - x"), stay=True)
        assert isinstance(answer, Response)
        assert (answer.status_code, answer.content, answer.header("Warning")) == (403, STATUS, "299 - x")

    @needs("broken_refusals")
    async def test_a_refusal_that_is_cut_short(self, client_for: OpenClient, prepare: Prepare) -> None:
        answer = await answer_to(client_for, prepare, response("500 Oops", b"abc")[:-1])
        assert isinstance(answer, Response)
        assert (answer.status_code, answer.content) == (500, b"ab")

    @needs("broken_refusals")
    async def test_a_refusal_whose_body_never_ends(self, client_for: OpenClient, prepare: Prepare) -> None:
        """Neither a length nor an end: what has come counts."""
        answer = await answer_to(client_for, prepare, response("403 Forbidden"), b"because", stay=True)
        assert isinstance(answer, Response)
        assert (answer.status_code, answer.content) == (403, b"because")

    @pytest.mark.parametrize(
        ("headers", "text"),
        [
            (["Upgrade: websocket", "Connection: Upgrade", ACCEPT], "Sec-WebSocket-Accept"),
            (["Upgrade: websocket", "Connection: Upgrade"], "Sec-WebSocket-Accept"),
            (["Connection: Upgrade", ACCEPT], "Upgrade"),
            (["Upgrade: spdy/3.1", "Connection: Upgrade", ACCEPT], "Upgrade"),
            (["Upgrade: websocket", ACCEPT], "Connection"),
        ],
    )
    async def test_a_101_that_is_no_handshake(
        self, client_for: OpenClient, prepare: Prepare, headers: list[str], text: str
    ) -> None:
        with pytest.raises(ProtocolViolation, match=text) as caught:
            await answer_to(client_for, prepare, response("101 Switching Protocols", None, *headers))
        assert "secret" not in str(caught.value)

    @pytest.mark.parametrize(
        ("upgrade", "connection"),
        [("WebSocket", "upgrade"), ("WEBSOCKET", "UPGRADE"), ("websocket", "keep-alive, Upgrade")],
    )
    async def test_values_of_a_101_are_compared_as_rfc_6455_says(
        self, client_for: OpenClient, prepare: Prepare, upgrade: str, connection: str
    ) -> None:
        def handle(peer: Peer) -> None:
            head = peer.head()
            answer = peer.switching(head, "v4.channel.k8s.io")
            answer = answer.replace(b"Upgrade: websocket", f"upgrade: {upgrade}".encode())
            peer.send(
                answer.replace(b"Connection: Upgrade", f"CONNECTION: {connection}".encode()) + frame(b"\x01first")
            )
            peer.rest()

        with RawServer(handle) as server:
            async with client_for() as client:
                websocket = await client.open_websocket(prepare(server.url), OFFER)
                assert isinstance(websocket, WebSocketConnection)
                assert await websocket.receive_bytes() == b"\x01first"
                await websocket.abort()

    @pytest.mark.parametrize("chosen", [None, "v9.channel.k8s.io"])
    async def test_a_subprotocol_that_was_not_offered(
        self, client_for: OpenClient, prepare: Prepare, chosen: str | None
    ) -> None:
        def handle(peer: Peer) -> None:
            peer.accept(chosen)
            peer.rest()

        with RawServer(handle) as server:
            async with client_for() as client:
                try:
                    websocket = await client.open_websocket(prepare(server.url), OFFER)
                except ProtocolViolation:
                    assert chosen is not None
                else:
                    assert isinstance(websocket, WebSocketConnection)
                    assert websocket.negotiated_subprotocol not in OFFER
                    await websocket.abort()

    async def test_a_handshake_without_an_answer_is_sent_once(self, client_for: OpenClient, prepare: Prepare) -> None:
        def handle(peer: Peer) -> None:
            peer.head()

        with RawServer(handle) as server:
            async with client_for() as client:
                with pytest.raises(ConnectionLost) as caught:
                    await client.open_websocket(prepare(server.url + "/x?command=secret"), OFFER)
        assert server.connections == 1
        assert "secret" not in str(caught.value)

    @pytest.mark.parametrize(
        "answer", [b"SSH-2.0-OpenSSH_9.6\r\n", b"HTTP/1.1 abc def\r\n\r\n", b"\x00\x01\x02\x03\r\n\r\n"]
    )
    async def test_an_answer_that_is_no_http(self, client_for: OpenClient, prepare: Prepare, answer: bytes) -> None:
        with pytest.raises(KubexClientException) as caught:
            await answer_to(client_for, prepare, answer)
        assert "secret" not in str(caught.value)

    async def test_a_cancelled_handshake_leaves_nothing(self, client_for: OpenClient, prepare: Prepare) -> None:
        def handle(peer: Peer) -> None:
            peer.head()
            assert peer.rest() == b""

        with RawServer(handle) as server:
            async with client_for() as client:
                with anyio.move_on_after(0.2) as scope:
                    await client.open_websocket(prepare(server.url), OFFER)
                assert scope.cancelled_caught

    async def test_silence_has_the_read_timeout(self, client_for: OpenClient, prepare: Prepare) -> None:
        def handle(peer: Peer) -> None:
            peer.head()
            assert peer.rest() == b""

        with RawServer(handle) as server:
            async with client_for() as client:
                request = prepare(server.url + "/x?command=secret", timeout=Timeout(read=0.1))
                with anyio.fail_after(15), pytest.raises(StreamTimeout) as caught:
                    await client.open_websocket(request, OFFER)
        assert "secret" not in str(caught.value)
