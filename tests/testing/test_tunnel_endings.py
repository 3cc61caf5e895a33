"""How connections in a port-forward tunnel of the embedded cluster end, and how the tunnel does."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from kubex_stream.testing import Behaviour, EmbeddedCluster, EmbeddedPod, EmbeddedPort
from tests.testing.pods import BANNER, ECHO, HALF, HTTP, SILENT, SOON, port_pod
from tests.testing.raw_client import BINARY, CLOSE, CLOSED, PING, TEXT, RawClient
from tests.testing.raw_tunnel import RawTunnel, data_frame, ping_frame, rst_frame


@pytest.fixture(scope="module")
def ports() -> Iterator[EmbeddedCluster]:
    with EmbeddedCluster([port_pod("ports")], quiet=True, tls=False) as cluster:
        yield cluster


@pytest.fixture
def cluster(ports: EmbeddedCluster) -> Iterator[EmbeddedCluster]:
    """The module's cluster; afterwards nothing of a test is left in it."""
    ports.behaviour = Behaviour(half_close_grace=SOON)
    yield ports
    ports.wait_for(lambda: not ports.open_sessions and not ports.forwarded_connections)


def _text(tunnel: RawTunnel, stream: int) -> str:
    tunnel.until(lambda: tunnel.streams[stream].reset is not None or tunnel.streams[stream].ended)
    return tunnel.streams[stream].data.decode()


def test_a_reset_of_the_clients_cuts_the_connection(cluster: EmbeddedCluster) -> None:
    for half_close in (False, True):
        cluster.behaviour = Behaviour(half_close=half_close, half_close_grace=SOON)
        with RawTunnel(cluster, "ports") as tunnel:
            error, data = tunnel.connect(SILENT)
            cluster.wait_for(lambda: cluster.forwarded_connections == 1)
            tunnel.send(rst_frame(data))
            tunnel.until(lambda error=error: tunnel.streams[error].ended)
            assert cluster.forwarded_connections == 0
            assert not tunnel.streams[data].ended


@pytest.mark.parametrize("how", ["reset", "end"])
def test_a_client_that_vanishes_leaves_nothing(cluster: EmbeddedCluster, how: str) -> None:
    with RawTunnel(cluster, "ports") as tunnel:
        for port in (ECHO, SILENT, HTTP):
            tunnel.connect(port)
        cluster.wait_for(lambda: cluster.forwarded_connections == 3)
        if how == "reset":
            tunnel.client.reset()
    cluster.wait_for(lambda: not cluster.forwarded_connections and not cluster.open_sessions)


def test_what_the_client_said_last_is_delivered(cluster: EmbeddedCluster) -> None:
    with socket.create_server(("127.0.0.1", 0)) as here:
        cluster.add_pod(EmbeddedPod("outside", ports=[EmbeddedPort(1, target=here.getsockname()[1])]))
        with RawTunnel(cluster, "outside") as tunnel:
            _, data = tunnel.connect(1)
            for _ in range(40):
                tunnel.send(data_frame(data, b"x" * 25_000))
            tunnel.client.send(b"\x03\xe8", 8)
        with closing(here.accept()[0]) as accepted:
            size = 0
            while part := accepted.recv(65536):
                size += len(part)
        assert size == 1_000_000
        cluster.delete_pod("outside")


@pytest.mark.parametrize("half_close", [False, True])
def test_a_deleted_pod_ends_connections_but_not_the_tunnel(cluster: EmbeddedCluster, half_close: bool) -> None:
    cluster.behaviour = Behaviour(half_close=half_close, half_close_grace=SOON)
    cluster.add_pod(port_pod("doomed"))
    with RawTunnel(cluster, "doomed") as tunnel:
        error, data = tunnel.connect(ECHO)
        tunnel.send(data_frame(data, b"there"))
        tunnel.until(lambda: tunnel.streams[data].data == b"there")
        cluster.delete_pod("doomed")
        tunnel.until(lambda: tunnel.streams[data].ended and tunnel.streams[error].ended)
        assert not tunnel.streams[error].data
        error, data = tunnel.connect(ECHO)
        text = _text(tunnel, error)
        assert re.fullmatch(
            r"error forwarding port 8080 to pod ([0-9a-f]{64}), uid : "
            r'network namespace for sandbox "\1" is closed',
            text,
        )
        tunnel.until(lambda: tunnel.streams[data].reset == tunnel.streams[error].reset == 5)
        tunnel.until_pong()


def test_a_text_message_ends_the_tunnel(cluster: EmbeddedCluster) -> None:
    with RawTunnel(cluster, "ports") as tunnel:
        tunnel.client.send(b"hello", TEXT)
        tunnel.rest()
        assert tunnel.controls == [CLOSED]


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        ([{"opcode": BINARY, "masked": False}], "bad MASK"),
        ([{"opcode": 5}], "bad opcode 5"),
        ([{"opcode": BINARY, "rsv": 5}], "RSV1 set, RSV3 set"),
        ([{"opcode": PING, "payload": b"x" * 200}], "len > 125 for control"),
        ([{"opcode": PING, "fin": False}], "FIN not set on control"),
        ([{"opcode": 0}], "continuation after FIN"),
        ([{"opcode": BINARY, "fin": False}, {"opcode": BINARY}], "data before FIN"),
    ],
)
def test_a_frame_that_is_none_ends_the_tunnel(
    cluster: EmbeddedCluster, frames: list[dict[str, Any]], reason: str
) -> None:
    with RawTunnel(cluster, "ports") as tunnel:
        for frame in frames:
            tunnel.client.send(**{"payload": ping_frame(1), **frame})
        tunnel.rest()
        assert tunnel.controls == [(CLOSE, b"\x03\xea" + reason.encode())]


@pytest.mark.parametrize(("said", "answered"), [(b"\x03\xe9bye", b"\x03\xe9"), (b"", b""), (b"\x03\xe8", b"\x03\xe8")])
def test_a_close_is_answered_with_its_own_code(cluster: EmbeddedCluster, said: bytes, answered: bytes) -> None:
    with RawTunnel(cluster, "ports") as tunnel:
        tunnel.client.send(said, CLOSE)
        tunnel.rest()
        assert tunnel.controls == [(CLOSE, answered)]


def test_a_goaway_of_the_clients_gets_no_answer(cluster: EmbeddedCluster) -> None:
    with RawTunnel(cluster, "ports") as tunnel:
        error, data = tunnel.connect(ECHO)
        tunnel.send(data_frame(data, b"last words"))
        tunnel.until(lambda: tunnel.streams[data].data == b"last words")
        tunnel.send(bytes.fromhex("80030007000000080000000000000000") + ping_frame(1))
        cluster.wait_for(lambda: not cluster.forwarded_connections)
        tunnel.until_pong()
        assert not tunnel.streams[data].ended
        assert not tunnel.streams[error].ended
        assert not [frame for frame in tunnel.frames if frame.name in ("PING", "GOAWAY")]


@pytest.mark.parametrize("extra", [1, 2])
def test_what_comes_after_a_good_end_stops_its_worker(cluster: EmbeddedCluster, extra: int) -> None:
    """One frame is swallowed; the second one waits for a reader who never comes, and a reset waits behind it."""
    with RawTunnel(cluster, "ports") as tunnel:
        error, data = tunnel.connect(HALF)
        tunnel.until(lambda: tunnel.streams[data].ended and tunnel.streams[error].ended)
        for _ in range(extra):
            tunnel.send(data_frame(data, b"x"))
        tunnel.send(rst_frame(data))
        _, other = tunnel.connect(BANNER)
        tunnel.until(lambda: tunnel.streams[other].data == b"banner\n")
        tunnel.next_id = data + 8  # so that the next data stream has the same worker
        if extra == 1:
            tunnel.connect(BANNER)
            return
        tunnel.client.sock.settimeout(0.5)
        with pytest.raises(TimeoutError):
            tunnel.connect(BANNER)


def test_the_cluster_ends_with_tunnels_open() -> None:
    with EmbeddedCluster(quiet=True, tls=False) as cluster, RawTunnel(cluster) as tunnel:
        tunnel.connect(7)
        cluster.stop()
        with pytest.raises(ConnectionResetError):
            tunnel.rest()


def test_a_header_that_only_a_handshake_lacks(cluster: EmbeddedCluster) -> None:
    target = "/api/v1/namespaces/default/pods/ports/portforward"
    headers = [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Protocol", "SPDY/3.1+portforward.k8s.io"),
    ]
    version, key = ("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Key", "dG9vIHNob3J0")
    for more, method, status, body in (
        ([version, key], "GET", 400, b"Bad Request\n"),
        ([key], "GET", 400, b"Bad Request\n"),
        ([version, key], "POST", 405, b"Method Not Allowed\n"),
    ):
        with RawClient(cluster) as client:
            client.request(target, [*headers, *more], method=method)
            answer = client.answer()
            assert (answer.status, answer.body) == (status, body)
