"""TLS: names, authorities, client certificates, and its end."""

from __future__ import annotations

import ssl
import threading
from contextlib import suppress

import anyio
import anyio.to_thread
import pytest
import trustme

from kubex_stream.client import Response
from kubex_stream.errors import ConnectionFailed, ConnectionLost
from kubex_stream.testing.conformance.base import Conformance, OpenClient, Prepare
from kubex_stream.testing.conformance.claims import needs
from kubex_stream.testing.conformance.kinds import OFFER, QUERY, Send, plain, serve, told
from kubex_stream.testing.conformance.raw import Peer, RawServer, response

__all__ = ("Tls",)


class Tls(Conformance):
    """TLS: names, authorities, client certificates, and its end."""

    @needs("tls")
    async def test_tls(
        self,
        client_for: OpenClient,
        prepare: Prepare,
        server_tls: ssl.SSLContext,
        client_tls: ssl.SSLContext,
        send: Send,
    ) -> None:
        with RawServer(serve, context=server_tls) as server:
            async with client_for() as client:
                await send(client, prepare(server.url + "/", ssl_context=client_tls))

    @needs("tls")
    async def test_the_name_of_the_server(
        self, client_for: OpenClient, prepare: Prepare, authority: trustme.CA, client_tls: ssl.SSLContext, send: Send
    ) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("only.test").configure_cert(context)
        names: list[str | None] = []
        context.sni_callback = lambda _sock, name, _context: names.append(name)
        with RawServer(serve, context=context) as server:
            async with client_for() as client:
                await send(client, prepare(server.url, ssl_context=client_tls, server_hostname="only.test"))
                with pytest.raises(ConnectionFailed, match=r"certificate verify failed: .*127\.0\.0\.1"):
                    await send(client, prepare(server.url, ssl_context=client_tls))
        assert names[0] == "only.test"

    @needs("tls")
    async def test_only_http_1_is_offered(
        self, client_for: OpenClient, prepare: Prepare, authority: trustme.CA, client_tls: ssl.SSLContext, send: Send
    ) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        context.set_alpn_protocols(["h2", "http/1.1"])
        client_tls.set_alpn_protocols(["h2", "http/1.1"])
        chosen: list[str | None] = []

        def handle(peer: Peer) -> None:
            assert isinstance(peer.sock, ssl.SSLSocket)
            chosen.append(peer.sock.selected_alpn_protocol())
            serve(peer)

        with RawServer(handle, context=context) as server:
            async with client_for() as client:
                await send(client, prepare(server.url, ssl_context=client_tls))
        assert chosen == ["http/1.1"]

    @needs("tls")
    async def test_an_unknown_authority(
        self, client_for: OpenClient, prepare: Prepare, server_tls: ssl.SSLContext, send: Send
    ) -> None:
        with RawServer(serve, context=server_tls) as server:
            async with client_for() as client:
                with pytest.raises(ConnectionFailed, match="certificate verify failed") as caught:
                    await send(client, prepare(server.url + "/x" + QUERY, ssl_context=ssl.create_default_context()))
        told(caught.value)

    @needs("tls", "client_certificates")
    async def test_another_context_is_another_connection(
        self, client_for: OpenClient, prepare: Prepare, authority: trustme.CA, server_tls: ssl.SSLContext
    ) -> None:
        with RawServer(serve, context=server_tls) as server:
            async with client_for() as client:
                for expected in (1, 2):
                    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                    authority.configure_trust(context)
                    for _ in range(3):
                        await plain(client, prepare(server.url, ssl_context=context))
                    assert server.connections == expected

    @needs("tls", "client_certificates")
    async def test_a_client_certificate(
        self, client_for: OpenClient, prepare: Prepare, authority: trustme.CA, client_tls: ssl.SSLContext, send: Send
    ) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        authority.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED

        def handle(peer: Peer) -> None:
            with suppress(OSError):
                serve(peer)

        with RawServer(handle, context=context) as server:
            async with client_for() as client:
                # TLS 1.3 tells it after the handshake, so it may look like a connection that broke.
                with pytest.raises((ConnectionFailed, ConnectionLost)):
                    await send(client, prepare(server.url, ssl_context=client_tls))
                authority.issue_cert("somebody").configure_cert(client_tls)
            async with client_for() as client:
                await send(client, prepare(server.url, ssl_context=client_tls))

    @needs("tls")
    async def test_tls_with_a_server_that_has_none(
        self, client_for: OpenClient, prepare: Prepare, client_tls: ssl.SSLContext, send: Send
    ) -> None:
        def handle(peer: Peer) -> None:
            peer.read(1)
            peer.send(b"HTTP/1.0 400 Bad Request\r\n\r\n")
            peer.finish()
            peer.rest()

        with RawServer(handle) as server:
            async with client_for() as client:
                with pytest.raises(ConnectionFailed, match=r"SSL|TLS"):
                    await send(client, prepare(server.url.replace("http:", "https:"), ssl_context=client_tls))

    @pytest.mark.parametrize("how", ["read", "left", "refused", "cancelled", "keep-alive-off"])
    @needs("tls", "prompt_tls_end")
    async def test_tls_does_not_linger(
        self, client_for: OpenClient, prepare: Prepare, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, how: str
    ) -> None:
        """TCP ends at once, also when the server does not answer the goodbye of TLS."""
        ended = threading.Event()

        def handle(peer: Peer) -> None:
            peer.head()
            peer.send(response("200 OK", b"body") if how != "cancelled" else response("200 OK", b"body")[:-1])
            peer.wait_for_tcp_end()
            ended.set()

        with RawServer(handle, context=server_tls) as server:
            async with client_for(keep_alive=how != "keep-alive-off") as client:
                request = prepare(server.url, ssl_context=client_tls)
                if how in ("read", "left"):
                    answer = await client.open_stream(request)
                    assert how == "left" or [piece async for piece in answer] == [b"body"]
                    await answer.aclose()
                elif how == "refused":
                    assert isinstance(await client.open_websocket(request, OFFER), Response)
                else:
                    with anyio.move_on_after(0.2 if how == "cancelled" else 20):
                        await client.send_request(request)
                with anyio.fail_after(15):
                    await anyio.to_thread.run_sync(ended.wait, 14)
                assert ended.is_set()
