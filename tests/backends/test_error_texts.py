"""What errors of our backends say beyond what the conformance suite asks of every transport."""

from __future__ import annotations

import ssl

import pytest

from kubex_stream.configuration import ClientConfiguration
from kubex_stream.errors import ConnectionFailed, ProtocolViolation
from kubex_stream.testing.conformance.raw import Peer, RawServer, response
from tests.backends.conftest import Prepare
from tests.conftest import MakeClient

pytestmark = pytest.mark.anyio

OFFER = ["v4.channel.k8s.io"]
ACCEPT = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


async def test_an_unknown_authority_names_the_setting(
    make_client: MakeClient, prepare: Prepare, server_tls: ssl.SSLContext
) -> None:
    def handle(peer: Peer) -> None:
        peer.rest()

    with RawServer(handle, context=server_tls) as server:
        async with make_client(ClientConfiguration(url=server.url)) as client:
            with pytest.raises(ConnectionFailed, match=r"certificate verify failed.*certificate-authority"):
                await client.open_websocket(prepare(server.url, ssl_context=ssl.create_default_context()), OFFER)


@pytest.mark.parametrize(
    ("headers", "text"),
    [
        (["Connection: Upgrade", ACCEPT], "'Upgrade: websocket'"),
        (["Upgrade: websocket", ACCEPT], "'Connection: Upgrade'"),
    ],
)
async def test_a_101_that_is_no_handshake_says_what_is_missing(
    make_client: MakeClient, prepare: Prepare, headers: list[str], text: str
) -> None:
    def handle(peer: Peer) -> None:
        peer.head()
        peer.send(response("101 Switching Protocols", None, *headers))
        peer.finish()
        peer.rest()

    with RawServer(handle) as server:
        async with make_client(ClientConfiguration(url=server.url)) as client:
            with pytest.raises(ProtocolViolation, match=text):
                await client.open_websocket(prepare(server.url), OFFER)


async def test_tls_with_a_server_that_has_none_says_so(
    make_client: MakeClient, prepare: Prepare, client_tls: ssl.SSLContext
) -> None:
    def handle(peer: Peer) -> None:
        peer.read(1)
        peer.send(b"HTTP/1.0 400 Bad Request\r\n\r\n")
        peer.finish()
        peer.rest()

    with RawServer(handle) as server:
        async with make_client(ClientConfiguration(url=server.url)) as client:
            with pytest.raises(ConnectionFailed, match="TLS"):
                await client.open_websocket(
                    prepare(server.url.replace("http:", "https:"), ssl_context=client_tls), OFFER
                )
