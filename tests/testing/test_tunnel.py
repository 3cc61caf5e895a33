"""The port-forward tunnel of the embedded cluster, spoken to byte by byte."""

from __future__ import annotations

import hashlib
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from kubex_stream.testing import Behaviour, EmbeddedCluster, EmbeddedPod, EmbeddedPort
from tests.testing.pods import BANNER, ECHO, HALF, HTTP, MISSING, OWN, RESET, SEND, SHA256, SOON, port_pod
from tests.testing.raw_client import BINARY, CLOSED, PING, PONG
from tests.testing.raw_tunnel import RawTunnel, data_frame, ping_frame


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


def test_a_connection_and_what_the_cluster_shows_of_it(cluster: EmbeddedCluster) -> None:
    with RawTunnel(cluster, "ports") as tunnel:
        error, data = tunnel.connect(ECHO)
        tunnel.send(data_frame(data, b"hello"))
        tunnel.until(lambda: tunnel.streams[data].data == b"hello")
        (info,) = cluster.open_sessions
        assert (info.kind, info.pod, info.subprotocol) == ("portforward", "ports", "SPDY/3.1+portforward.k8s.io")
        assert cluster.forwarded_connections == 1
        tunnel.send(data_frame(data, b" and goodbye", fin=True))
        tunnel.until(lambda: tunnel.streams[data].ended and tunnel.streams[error].ended)
        assert tunnel.streams[data].data == b"hello and goodbye"
        assert not tunnel.streams[error].data
        assert cluster.forwarded_connections == 0
        tunnel.client.send(b"\x03\xe8", 8)
        tunnel.rest()
        assert tunnel.controls == [CLOSED]


@pytest.mark.parametrize("step", [1, 3, 7, 0])
def test_where_the_client_cuts_means_nothing(cluster: EmbeddedCluster, step: int) -> None:
    """All in one go, too: nothing of what follows a SYN_STREAM at once is lost."""
    with RawTunnel(cluster, "ports") as tunnel:
        frames, _, data = tunnel.pair(ECHO)
        tunnel.send(frames + data_frame(data, b"early") + ping_frame(1), step=step)
        tunnel.until(lambda: tunnel.streams[data].data == b"early")
        tunnel.until(lambda: any(frame.name == "PING" for frame in tunnel.frames))


def test_fragments_of_the_client_are_joined(cluster: EmbeddedCluster) -> None:
    with RawTunnel(cluster, "ports") as tunnel:
        _, data = tunnel.connect(ECHO)
        frame = data_frame(data, b"in three parts")
        tunnel.client.send(frame[:5], BINARY, fin=False)
        tunnel.client.send(b"between", PING)
        tunnel.client.send(frame[5:9], 0, fin=False)
        tunnel.client.send(frame[9:], 0)
        tunnel.until(lambda: tunnel.streams[data].data == b"in three parts")
        assert (PONG, b"between") in tunnel.controls


def test_the_server_cuts_as_gorilla_does(cluster: EmbeddedCluster) -> None:
    with RawTunnel(cluster, "ports") as tunnel:
        for _ in range(12):
            _, data = tunnel.connect(SEND)
            tunnel.send(data_frame(data, b"40000\n"))
            tunnel.until(lambda data=data: len(tunnel.streams[data].data) == 40_000)
            assert tunnel.streams[data].data == b"x" * 40_000
    fragmented = [index for index, (_, fin, _) in enumerate(tunnel.cuts) if not fin]
    assert fragmented
    for opcode, fin, size in tunnel.cuts:
        assert size <= 32 * 1024
        assert size <= 8220 if fin else size == 4096 or size > 8220
        assert opcode == BINARY or size <= 4096
    past = [index for index in fragmented if tunnel.cuts[index][2] > 8220]
    assert past
    assert all(tunnel.cuts[index + 1] == (0, True, 0) for index in past)
    assert (BINARY, True, 2) in tunnel.cuts  # field by field


@pytest.mark.parametrize(
    ("port", "said"), [(BANNER, b"banner\n"), (OWN, b"HELLO\n"), (SEND, b""), (HTTP, b"HTTP/1.1 200")]
)
def test_what_the_ports_serve(cluster: EmbeddedCluster, port: int, said: bytes) -> None:
    with RawTunnel(cluster, "ports") as tunnel:
        error, data = tunnel.connect(port)
        if port != BANNER:
            tunnel.send(data_frame(data, b"GET / HTTP/1.0\r\n\r\n" if port == HTTP else b"hello\n"))
        tunnel.until(lambda: tunnel.streams[data].ended and tunnel.streams[error].ended)
        assert tunnel.streams[data].data.startswith(said)
        if port == HTTP:
            assert tunnel.streams[data].data.endswith(b"\r\n\r\nports\n")


@pytest.mark.parametrize("half_close", [False, True])
def test_a_server_that_answers_after_the_end(cluster: EmbeddedCluster, half_close: bool) -> None:
    cluster.behaviour = Behaviour(half_close=half_close, half_close_grace=SOON)
    sent = bytes(range(256)) * 4096
    with RawTunnel(cluster, "ports") as tunnel:
        error, data = tunnel.connect(SHA256)
        tunnel.send(data_frame(data, sent))
        tunnel.send(data_frame(data, fin=True))
        tunnel.until(lambda: tunnel.streams[data].ended and tunnel.streams[error].ended)
        assert not tunnel.streams[error].data
        digest = hashlib.sha256(sent).hexdigest().encode() + b"\n"
        assert tunnel.streams[data].data == (digest if half_close else b"")


@pytest.mark.parametrize("half_close", [False, True])
def test_a_server_that_ends_first_and_reads_on(cluster: EmbeddedCluster, half_close: bool) -> None:
    """Where ends are passed on, the client hears of it at once and the connection goes on; elsewhere it is cut."""
    cluster.behaviour = Behaviour(half_close=half_close, half_close_grace=SOON)
    with RawTunnel(cluster, "ports") as tunnel:
        error, data = tunnel.connect(HALF)
        tunnel.until(lambda: tunnel.streams[data].ended)
        if half_close:
            tunnel.send(data_frame(data, b"x" * 1_000_000))
            tunnel.until_pong()
            assert not tunnel.streams[error].ended
            assert cluster.forwarded_connections == 1
            tunnel.send(data_frame(data, fin=True))
        tunnel.until(lambda: tunnel.streams[error].ended)
        assert cluster.forwarded_connections == 0


def test_a_refused_port_and_one_beside_it(cluster: EmbeddedCluster) -> None:
    with RawTunnel(cluster, "ports") as tunnel:
        error, data = tunnel.connect(MISSING)
        text = _text(tunnel, error)
        assert re.fullmatch(
            r'error forwarding port 8089 to pod ([0-9a-f]{64}), uid : failed to execute portforward in network namespace "/var/run/netns/'
            r'cni-[-0-9a-f]{36}": failed to connect to localhost:8089 inside namespace "\1", IPv4: dial tcp4 127.0.0.1:8089: connect: '
            r"connection refused IPv6 dial tcp6: address localhost: no suitable address found ",
            text,
        )
        assert tunnel.streams[error].reset == 5
        assert (tunnel.streams[data].ended, tunnel.streams[data].reset) == (True, None)
        _, data = tunnel.connect(ECHO)
        tunnel.send(data_frame(data, b"fine"))
        tunnel.until(lambda: tunnel.streams[data].data == b"fine")


def test_a_server_that_resets(cluster: EmbeddedCluster) -> None:
    with RawTunnel(cluster, "ports") as tunnel:
        error, data = tunnel.connect(RESET)
        assert _text(tunnel, error).endswith("->127.0.0.1:8085: read: connection reset by peer")
        assert (tunnel.streams[data].ended, tunnel.streams[error].reset) == (True, 5)


def test_a_client_that_sends_to_a_server_that_is_gone(cluster: EmbeddedCluster) -> None:
    cluster.behaviour = Behaviour(half_close_grace=20)
    with RawTunnel(cluster, "ports") as tunnel:
        error, data = tunnel.connect(BANNER)
        tunnel.until(lambda: tunnel.streams[data].data == b"banner\n")
        while tunnel.streams[error].reset is None:
            tunnel.send(data_frame(data, b"x" * 1000))
            tunnel.until_pong(b"%d" % len(tunnel.controls))
        assert re.search(r"broken pipe|connection reset by peer", _text(tunnel, error))


def test_targets_of_the_test_itself(cluster: EmbeddedCluster) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as here,
        socket.create_server(("::1", 0), family=socket.AF_INET6) as six,
    ):
        targets = [here.getsockname()[1], ("127.0.0.1", here.getsockname()[1]), six.getsockname()[1]]
        listed = [EmbeddedPort(number, target=target) for number, target in enumerate(targets, 1)]
        cluster.add_pod(EmbeddedPod("outside", ports=[*listed, EmbeddedPort(4)]))
        with RawTunnel(cluster, "outside") as tunnel:
            for number, listener in ((1, here), (2, here), (3, six)):
                _, data = tunnel.connect(number)
                with closing(listener.accept()[0]) as accepted:
                    accepted.sendall(b"hello from outside")
                    tunnel.until(lambda data=data: tunnel.streams[data].data == b"hello from outside")
            error, _ = tunnel.connect(4)
            assert "connection refused" in _text(tunnel, error)
        cluster.delete_pod("outside")


# -- pairs -------------------------------------------------------------------------------------------------------


def test_pairs_without_request_ids_go_by_their_streams(cluster: EmbeddedCluster) -> None:
    with RawTunnel(cluster, "ports") as tunnel:
        for error in (1, 5):
            tunnel.send(tunnel.syn({"streamtype": "error", "port": str(BANNER)}))
            tunnel.send(tunnel.syn({"streamtype": "data", "port": str(BANNER)}))
            tunnel.until(lambda error=error: tunnel.streams[error + 2].data == b"banner\n")


def test_the_data_stream_may_come_first(cluster: EmbeddedCluster) -> None:
    with RawTunnel(cluster, "ports") as tunnel:
        tunnel.send(tunnel.syn({"streamtype": "data", "port": str(BANNER), "requestid": "x"}))
        tunnel.send(tunnel.syn({"streamtype": "error", "port": str(BANNER), "requestid": "x"}))
        tunnel.until(lambda: tunnel.streams[1].data == b"banner\n")


def test_half_a_pair_times_out(cluster: EmbeddedCluster) -> None:
    cluster.behaviour = Behaviour(half_close_grace=SOON, pair_timeout=SOON)
    with RawTunnel(cluster, "ports") as tunnel:
        tunnel.send(tunnel.syn({"streamtype": "error", "port": str(ECHO), "requestid": "7"}))
        tunnel.until(lambda: tunnel.streams[1].data)
        said = tunnel.streams[1].data.decode()
        assert re.fullmatch(r"\(conn=0x[0-9a-f]+, request=7\) timed out waiting for streams", said)
        tunnel.until_pong()
        assert (tunnel.streams[1].ended, tunnel.streams[1].reset) == (False, None)


def test_a_second_data_stream_is_told_on_the_error_stream(cluster: EmbeddedCluster) -> None:
    with RawTunnel(cluster, "ports") as tunnel:
        for _ in range(2):
            tunnel.send(tunnel.syn({"streamtype": "data", "port": str(ECHO), "requestid": "1"}))
        tunnel.send(tunnel.syn({"streamtype": "error", "port": str(MISSING), "requestid": "2"}))
        tunnel.send(tunnel.syn({"streamtype": "error", "port": str(MISSING), "requestid": "2"}))
        tunnel.until(lambda: tunnel.streams[5].data)
        assert tunnel.streams[5].data == b"error processing stream for request 2: error stream already assigned"


@pytest.mark.parametrize(
    "headers",
    [
        {"streamtype": "data"},
        {"port": "80"},
        {"streamtype": "both", "port": "80"},
        {"streamtype": "data", "port": "0"},
        {"streamtype": "data", "port": "65536"},
        {"streamtype": "data", "port": "http"},
    ],
)
def test_bad_headers_reset_the_stream_only(cluster: EmbeddedCluster, headers: dict[str, str]) -> None:
    with RawTunnel(cluster, "ports") as tunnel:
        tunnel.send(tunnel.syn({**headers, "requestid": "0"}))
        tunnel.until(lambda: tunnel.streams[1].reset == 5)
        assert not tunnel.streams[1].replies
        _, data = tunnel.connect(BANNER)
        tunnel.until(lambda: tunnel.streams[data].data == b"banner\n")


# -- many and much -----------------------------------------------------------------------------------------------


def test_a_thousand_streams_at_once(cluster: EmbeddedCluster) -> None:
    with RawTunnel(cluster, "ports") as tunnel:
        made = [tunnel.pair(ECHO) for _ in range(500)]
        tunnel.send(b"".join(frames for frames, _, _ in made))
        datas = [data for _, _, data in made]
        tunnel.until(lambda: all(tunnel.streams[data].replies for data in datas))
        cluster.wait_for(lambda: cluster.forwarded_connections == 500)
        tunnel.send(b"".join(data_frame(data, b"stream %d" % data) for data in datas))
        tunnel.until(lambda: all(tunnel.streams[data].data == b"stream %d" % data for data in datas))
        tunnel.send(b"".join(data_frame(data, fin=True) for data in datas))
        tunnel.until(lambda: all(tunnel.streams[data].ended and tunnel.streams[data - 2].ended for data in datas))


def test_both_directions_at_once(cluster: EmbeddedCluster) -> None:
    size, piece = 64 * 1024 * 1024, bytes(range(256)) * 128
    with RawTunnel(cluster, "ports") as tunnel:
        _, data = tunnel.connect(ECHO)
        message = data_frame(data, piece)

        def upload() -> None:
            for _ in range(size // len(piece)):
                tunnel.client.send(message)
            tunnel.client.send(data_frame(data, fin=True))

        uploading = threading.Thread(target=upload)
        uploading.start()
        digest, count, stream = hashlib.sha256(), 0, tunnel.streams[data]
        while not stream.ended:
            assert tunnel.message()
            digest.update(stream.data)
            count += len(stream.data)
            stream.data.clear()
        uploading.join()
    assert count == size
    assert digest.digest() == hashlib.sha256(piece * (size // len(piece))).digest()
