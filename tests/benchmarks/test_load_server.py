"""The load server speaks the protocols: read by wsproto and by aiohttp, which nobody here wrote, and used by this library."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Generator

import aiohttp
import pytest
import wsproto
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Request

from benchmarks.load.server import LoadServer
from benchmarks.load.wire import Block, frame, frames_block
from kubex_stream import ClientConfiguration, Pods, create_client
from kubex_stream.api.forwarder import PortForwardProtocol

POD = "/api/v1/namespaces/default/pods/bench"
SIZES = [1, 125, 1024, 32768, 100_000]


@pytest.fixture(scope="module")
def server() -> Generator[LoadServer, None, None]:
    with LoadServer() as server:
        yield server


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def _connect(server: LoadServer, *, tls: bool) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", server.tls_port if tls else server.plain_port), timeout=10)
    if not tls:
        return sock
    context = ssl.create_default_context(cadata=server.ca_pem.decode())
    return context.wrap_socket(sock, server_hostname="localhost")


def _events(sock: socket.socket, ws: wsproto.WSConnection) -> Generator[wsproto.events.Event, None, None]:
    while True:
        yield from ws.events()
        data = sock.recv(65536)
        ws.receive_data(data or None)
        if not data:
            return


def _session(server: LoadServer, target: str, protocol: str, *, tls: bool, say: list[bytes]) -> tuple[list[bytes], int]:
    """The whole messages of a session, and the code of its Close, as wsproto reads them."""
    with _connect(server, tls=tls) as sock:
        ws = wsproto.WSConnection(wsproto.ConnectionType.CLIENT)
        sock.sendall(ws.send(Request("localhost", target, subprotocols=[protocol])))
        messages, parts = [], b""
        for event in _events(sock, ws):
            if isinstance(event, AcceptConnection):
                assert event.subprotocol == protocol
                for each in say:
                    sock.sendall(ws.send(BytesMessage(each)))
            elif isinstance(event, BytesMessage):
                parts += bytes(event.data)
                if event.message_finished:
                    messages.append(parts)
                    parts = b""
            elif isinstance(event, CloseConnection):
                sock.sendall(ws.send(event.response()))
                return messages, event.code
        raise AssertionError("the connection ended without a Close")


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("size", SIZES)
def test_down_sends_frames_of_the_size_then_a_status(server: LoadServer, size: int, tls: bool) -> None:
    total = 3 * size + size // 2
    target = f"{POD}/exec?command=down&command={size}&command={total}&stdout=true"
    messages, code = _session(server, target, "v4.channel.k8s.io", tls=tls, say=[])
    assert [len(each) - 1 for each in messages[:3]] == [size] * 3
    assert sum(len(each) - 1 for each in messages[:-1]) == total
    assert {each[0] for each in messages[:-1]} == {1}
    assert messages[-1][0] == 3
    assert json.loads(messages[-1][1:])["status"] == "Success"
    assert code == 1000


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_up_counts_stdin_and_takes_its_end(server: LoadServer, tls: bool) -> None:
    for command, say in (
        ("command=up&command=70000", [b"\0" + bytes(35_000)] * 2),
        ("command=up&command=9", [b"\xff\0"]),
    ):
        target = f"{POD}/exec?{command}&stdin=true"
        messages, code = _session(server, target, "v5.channel.k8s.io", tls=tls, say=say)
        assert [each[0] for each in messages] == [3]
        assert code == 1000


def test_echo_gives_back_every_byte(server: LoadServer) -> None:
    data = bytes(range(256)) * 5
    say = [b"\0" + data, b"\0abc", b"\xff\0"]
    messages, _ = _session(server, f"{POD}/exec?command=echo&stdin=true", "v5.channel.k8s.io", tls=False, say=say)
    assert messages[:-1] == [b"\1" + data, b"\1abc"]


def test_duplex_does_both_at_once(server: LoadServer) -> None:
    target, say = f"{POD}/exec?command=duplex&command=1000&command=50000", [b"\0" + bytes(25_000)] * 2
    messages, code = _session(server, target, "v5.channel.k8s.io", tls=True, say=say)
    assert sum(len(each) - 1 for each in messages if each[0] == 1) == 50_000
    assert code == 1000


@pytest.mark.anyio
async def test_a_subprotocol_that_no_server_has_is_refused(server: LoadServer) -> None:
    url = f"http://127.0.0.1:{server.plain_port}{POD}/exec?command=exit"
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
            await session.ws_connect(url, protocols=["v9.channel.k8s.io"])


@pytest.mark.anyio
async def test_aiohttp_reads_the_pod_and_a_session(server: LoadServer) -> None:
    url = f"http://127.0.0.1:{server.plain_port}{POD}"
    async with aiohttp.ClientSession() as session:
        async with session.get(url) as response:
            assert (await response.json())["status"]["phase"] == "Running"
        async with session.get(url + "/nothing") as response:
            assert response.status == 404
        exec_url = f"{url}/exec?command=down&command=4096&command=8192"
        async with session.ws_connect(exec_url, protocols=["v4.channel.k8s.io"]) as ws:
            messages = [message.data async for message in ws]
    assert [len(message) for message in messages[:2]] == [4097, 4097]


@pytest.mark.anyio
@pytest.mark.parametrize("protocol", ["tunnel", "legacy"])
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_ports_of_both_protocols(server: LoadServer, protocol: PortForwardProtocol, tls: bool) -> None:
    configuration = (
        ClientConfiguration(url=f"https://127.0.0.1:{server.tls_port}", server_ca_data=server.ca_pem)
        if tls
        else ClientConfiguration(url=f"http://127.0.0.1:{server.plain_port}")
    )
    async with (
        create_client(configuration) as client,
        Pods(client).portforward.forwarder("bench", protocol=protocol) as forwarder,
    ):
        async with forwarder.connect(8080) as stream:
            await stream.send(b"to and fro")
            assert await stream.receive() == b"to and fro"
        async with forwarder.connect(8083) as stream:
            await stream.send(b"100000\n")
            assert sum([len(piece) async for piece in stream]) == 100_000


def test_the_records_of_a_frame_are_those_of_an_api_server() -> None:
    body = frame(b"\1" + bytes(32768))
    block: Block = frames_block([(body, 5)] * 2, 65536)
    assert [len(record) for record in block.records] == [5, 4096, 12288, 16384] * 2
    assert b"".join(block.records) == block.data
