"""Ways to a server: none, slow ones, and proxies."""

from __future__ import annotations

import ssl
from contextlib import ExitStack

import anyio
import anyio.to_thread
import pytest

from kubex_stream.client import Response
from kubex_stream.core.params import Timeout
from kubex_stream.errors import ConnectionFailed, ConnectionLost, KubexClientException, StreamTimeout
from kubex_stream.testing.conformance.base import Conformance, OpenClient, Prepare
from kubex_stream.testing.conformance.claims import needs
from kubex_stream.testing.conformance.kinds import OFFER, QUERY, USER, Send, serve, told
from kubex_stream.testing.conformance.raw import Head, Peer, RawServer, proxy_handler, response

__all__ = ("Routes",)


class Routes(Conformance):
    """Ways to a server: none, slow ones, and proxies."""

    async def test_refused(self, client_for: OpenClient, prepare: Prepare, closed_port: int, send: Send) -> None:
        async with client_for() as client:
            with pytest.raises(ConnectionFailed, match=f"127.0.0.1:{closed_port}") as caught:
                await send(client, prepare(f"http://127.0.0.1:{closed_port}/x{QUERY}"))
        assert isinstance(caught.value, ConnectionError)
        told(caught.value)

    async def test_an_unknown_name(self, client_for: OpenClient, prepare: Prepare, send: Send) -> None:
        async with client_for() as client:
            with pytest.raises(ConnectionFailed, match=r"nowhere\.invalid"):
                await send(client, prepare("http://nowhere.invalid/x" + QUERY))

    @needs("tls")
    async def test_a_connection_that_takes_too_long(
        self, client_for: OpenClient, prepare: Prepare, client_tls: ssl.SSLContext, send: Send
    ) -> None:
        def handle(peer: Peer) -> None:
            peer.rest()

        with RawServer(handle) as server:
            async with client_for() as client:
                request = prepare(
                    server.url.replace("http:", "https:") + "/x" + QUERY,
                    ssl_context=client_tls,
                    timeout=Timeout(connect=0.2),
                )
                with anyio.fail_after(10), pytest.raises(StreamTimeout) as caught:
                    await send(client, request)
        told(caught.value)

    # A server without TLS behind a proxy with TLS is nobody's.
    @pytest.mark.parametrize(
        ("proxy_has_tls", "server_has_tls"),
        [(False, False), (False, True), (True, True)],
        ids=["neither", "server", "both"],
    )
    @needs("tls", "proxies")
    async def test_a_proxy(
        self,
        client_for: OpenClient,
        prepare: Prepare,
        server_tls: ssl.SSLContext,
        client_tls: ssl.SSLContext,
        send: Send,
        proxy_has_tls: bool,
        server_has_tls: bool,
    ) -> None:
        if proxy_has_tls and "tls_proxies" not in self.transport.claims:
            pytest.skip("this transport does not claim: tls_proxies")
        heads: list[Head] = []
        with ExitStack() as stack:
            server = stack.enter_context(RawServer(serve, context=server_tls if server_has_tls else None))
            proxy = stack.enter_context(RawServer(proxy_handler(heads), context=server_tls if proxy_has_tls else None))
            url = proxy.url.replace("://", "://us%40er:p%3Ass%2F@")
            async with client_for() as client:
                context = client_tls if server_has_tls else None
                await send(client, prepare(f"{server.url}/a%2Fb?c=d+e", ssl_context=context, proxy=url))
        (head,) = heads
        if server_has_tls:
            assert (head.method, head.target) == ("CONNECT", server.netloc)
            assert head.all("Authorization") == []
        # us@er:p:ss/
        assert head.one("Proxy-Authorization") == "Basic dXNAZXI6cDpzcy8="

    @needs("tls", "proxies")
    async def test_a_proxy_without_a_password(
        self,
        client_for: OpenClient,
        prepare: Prepare,
        server_tls: ssl.SSLContext,
        client_tls: ssl.SSLContext,
        send: Send,
    ) -> None:
        heads: list[Head] = []
        with RawServer(serve, context=server_tls) as server, RawServer(proxy_handler(heads)) as proxy:
            async with client_for() as client:
                headers = [("Authorization", "Bearer secret")]
                await send(client, prepare(server.url, headers=headers, ssl_context=client_tls, proxy=proxy.url))
        assert heads[0].all("Proxy-Authorization") == []
        assert heads[0].all("Authorization") == []

    @pytest.mark.parametrize("status", ["403 Forbidden", "407 Proxy Authentication Required", "502 Bad Gateway"])
    @needs("tls", "proxies")
    async def test_a_proxy_that_refuses(
        self, client_for: OpenClient, prepare: Prepare, client_tls: ssl.SSLContext, send: Send, status: str
    ) -> None:
        heads: list[Head] = []
        with RawServer(proxy_handler(heads, response(status, b"no", "Connection: close"))) as proxy:
            async with client_for() as client:
                url = proxy.url.replace("://", f"://{USER}")
                with pytest.raises(ConnectionFailed) as caught:
                    await send(client, prepare("https://cluster.test/x" + QUERY, ssl_context=client_tls, proxy=url))
        assert proxy.netloc in str(caught.value)
        assert status[:3] in str(caught.value)
        told(caught.value)
        assert [head.target for head in heads] == ["cluster.test:443"]

    @needs("tls", "proxies")
    async def test_a_proxy_that_is_not_there(
        self, client_for: OpenClient, prepare: Prepare, client_tls: ssl.SSLContext, closed_port: int, send: Send
    ) -> None:
        async with client_for() as client:
            request = prepare(
                "https://cluster.test/", ssl_context=client_tls, proxy=f"http://{USER}127.0.0.1:{closed_port}"
            )
            with pytest.raises(ConnectionFailed, match=f"proxy.*127.0.0.1:{closed_port}") as caught:
                await send(client, request)
        told(caught.value)

    @needs("tls", "proxies", "proxy_hangs_up")
    async def test_a_proxy_that_hangs_up(
        self, client_for: OpenClient, prepare: Prepare, client_tls: ssl.SSLContext, send: Send
    ) -> None:
        def handle(peer: Peer) -> None:
            peer.head()

        with RawServer(handle) as proxy:
            async with client_for() as client:
                with pytest.raises(KubexClientException) as caught:
                    await send(
                        client, prepare("https://cluster.test/x" + QUERY, ssl_context=client_tls, proxy=proxy.url)
                    )
        assert isinstance(caught.value, ConnectionFailed | ConnectionLost)
        told(caught.value)

    @needs("tls", "proxies")
    async def test_tls_behind_a_proxy_is_verified(
        self, client_for: OpenClient, prepare: Prepare, server_tls: ssl.SSLContext, send: Send
    ) -> None:
        heads: list[Head] = []
        with RawServer(serve, context=server_tls) as server, RawServer(proxy_handler(heads)) as proxy:
            async with client_for() as client:
                with pytest.raises(ConnectionFailed, match="certificate verify failed"):
                    await send(client, prepare(server.url, ssl_context=ssl.create_default_context(), proxy=proxy.url))

    async def test_the_environment_is_not_read(
        self, client_for: OpenClient, prepare: Prepare, closed_port: int, send: Send, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The base class has done it, and has decided for none."""
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{closed_port}")
        with RawServer(serve) as server:
            async with client_for() as client:
                await send(client, prepare(server.url))

    @needs("tls", "proxies")
    async def test_a_refused_handshake_behind_a_proxy(
        self, client_for: OpenClient, prepare: Prepare, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
    ) -> None:
        def handle(peer: Peer) -> None:
            peer.head()
            peer.send(response("403 Forbidden", b"no"))
            peer.rest()

        with RawServer(handle, context=server_tls) as server, RawServer(proxy_handler([])) as proxy:
            async with client_for() as client:
                answer = await client.open_websocket(
                    prepare(server.url, ssl_context=client_tls, proxy=proxy.url), OFFER
                )
        assert isinstance(answer, Response)
        assert (answer.status_code, answer.content) == (403, b"no")
