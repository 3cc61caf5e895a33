"""What the embedded cluster's tunnel does when it is told to do it differently, or wrong."""

from __future__ import annotations

import select
import socket
import zlib
from collections.abc import Iterator

import pytest

from kubex_stream.protocol.spdy_headers import DICTIONARY
from kubex_stream.testing import Behaviour, EmbeddedCluster
from kubex_stream.testing.gorilla import messages_of, writes_of
from tests.testing.pods import BANNER, ECHO, SEND, SILENT, SOON, port_pod
from tests.testing.raw_client import CLOSE
from tests.testing.raw_tunnel import RawTunnel, control, data_frame


@pytest.fixture(scope="module")
def ports() -> Iterator[EmbeddedCluster]:
    with EmbeddedCluster([port_pod("ports")], quiet=True, tls=False) as cluster:
        yield cluster


@pytest.fixture
def cluster(ports: EmbeddedCluster) -> Iterator[EmbeddedCluster]:
    yield ports
    ports.wait_for(lambda: not ports.open_sessions and not ports.forwarded_connections)


def _download(tunnel: RawTunnel, size: int = 1_000_000) -> tuple[int, int]:
    error, data = tunnel.connect(SEND)
    tunnel.send(data_frame(data, b"%d\n" % size))
    return error, data


def test_goaway_in_the_middle(cluster: EmbeddedCluster) -> None:
    cluster.behaviour = Behaviour(half_close_grace=SOON, goaway_after_bytes=100_000)
    with RawTunnel(cluster, "ports") as tunnel:
        _, data = _download(tunnel)
        tunnel.until(lambda: tunnel.frames[-1].name == "GOAWAY")
        assert len(tunnel.streams[data].data) == 100_000
        tunnel.until_pong()
        assert not tunnel.streams[data].ended


def test_goaway_instead_of_the_first_byte(cluster: EmbeddedCluster) -> None:
    cluster.behaviour = Behaviour(half_close_grace=SOON, goaway_after_bytes=0)
    with RawTunnel(cluster, "ports") as tunnel:
        _, data = _download(tunnel)
        tunnel.until(lambda: tunnel.frames[-1].name == "GOAWAY")
        assert not tunnel.streams[data].data


def test_garbage_in_the_middle(cluster: EmbeddedCluster) -> None:
    cluster.behaviour = Behaviour(half_close_grace=SOON, tunnel_garbage_after_bytes=100_000)
    with RawTunnel(cluster, "ports") as tunnel:
        _, data = _download(tunnel)
        tunnel.until(lambda: len(tunnel.streams[data].data) == 100_000)
        tunnel.until_pong()
        assert tunnel.rest_of_frame.startswith(b"\xde\xad\xbe\xef")


def test_a_stream_is_reset_in_the_middle(cluster: EmbeddedCluster) -> None:
    cluster.behaviour = Behaviour(half_close_grace=SOON, reset_stream_after_bytes=100_000)
    with RawTunnel(cluster, "ports") as tunnel:
        for _ in range(2):
            _, data = _download(tunnel)
            tunnel.until(lambda data=data: tunnel.streams[data].reset == 5)
            assert len(tunnel.streams[data].data) == 100_000
            cluster.wait_for(lambda: not cluster.forwarded_connections)


def test_tcp_is_reset_in_the_middle(cluster: EmbeddedCluster) -> None:
    cluster.behaviour = Behaviour(half_close_grace=SOON, tcp_reset_after_bytes=100_000)
    with RawTunnel(cluster, "ports") as tunnel:
        _, data = _download(tunnel)
        with pytest.raises(ConnectionResetError):
            tunnel.rest()
        assert len(tunnel.streams[data].data) == 100_000


@pytest.mark.parametrize("code", [None, 1001, 1011])
def test_a_close_in_the_middle(cluster: EmbeddedCluster, code: int | None) -> None:
    cluster.behaviour = Behaviour(half_close_grace=SOON, close_after_bytes=100_000, close_code=code)
    with RawTunnel(cluster, "ports") as tunnel:
        _, data = _download(tunnel)
        tunnel.rest()
        assert tunnel.controls == [(CLOSE, (code or 1000).to_bytes(2, "big"))]
        assert len(tunnel.streams[data].data) == 100_000


def test_a_header_bomb(cluster: EmbeddedCluster) -> None:
    cluster.behaviour = Behaviour(half_close_grace=SOON, header_bomb=True)
    with RawTunnel(cluster, "ports") as tunnel:
        frames, _, _ = tunnel.pair(ECHO)
        tunnel.send(frames)
        tunnel.until_pong()
        (frame,) = tunnel.frames
        assert (frame.name, len(frame.payload)) == ("SYN_REPLY", 4 + 4 + 1 + 4 + 64 * 1024 * 1024)
        assert sum(size for _, _, size in tunnel.cuts) < 64 * 1024 + 8


def test_replies_in_reversed_order(cluster: EmbeddedCluster) -> None:
    cluster.behaviour = Behaviour(half_close_grace=SOON, reply_order="reversed")
    with RawTunnel(cluster, "ports") as tunnel:
        frames, error, data = tunnel.pair(BANNER)
        tunnel.send(frames)
        tunnel.until(lambda: tunnel.streams[data].data == b"banner\n")
        assert [frame.stream for frame in tunnel.frames] == [data, error]
        # One who waits for the first reply gets it all the same.
        tunnel.send(tunnel.syn({"streamtype": "error", "port": str(BANNER), "requestid": "9"}))
        tunnel.until(lambda: tunnel.streams[5].replies)
        tunnel.send(tunnel.syn({"streamtype": "data", "port": str(BANNER), "requestid": "9"}))
        tunnel.until(lambda: tunnel.streams[7].data == b"banner\n")


def test_data_before_the_reply_is_lost(cluster: EmbeddedCluster) -> None:
    cluster.behaviour = Behaviour(half_close_grace=SOON, drop_data_before_reply=True)
    with RawTunnel(cluster, "ports") as tunnel:
        frames, _, data = tunnel.pair(ECHO)
        tunnel.send(frames + data_frame(data, b"lost"))
        tunnel.until(lambda: tunnel.streams[data].replies)
        tunnel.send(data_frame(data, b"kept"))
        tunnel.until(lambda: tunnel.streams[data].data)
        assert tunnel.streams[data].data == b"kept"


def test_no_reply(cluster: EmbeddedCluster) -> None:
    cluster.behaviour = Behaviour(half_close_grace=SOON, no_reply=True)
    with RawTunnel(cluster, "ports") as tunnel:
        tunnel.send(tunnel.pair(BANNER)[0] + tunnel.pair(BANNER)[0])
        tunnel.until_pong()
        assert not tunnel.frames


def test_byte_by_byte(cluster: EmbeddedCluster) -> None:
    cluster.behaviour = Behaviour(half_close_grace=SOON, byte_by_byte=True)
    with RawTunnel(cluster, "ports") as tunnel:
        _, data = tunnel.connect(BANNER)
        tunnel.until(lambda: tunnel.streams[data].ended)
        assert tunnel.streams[data].data == b"banner\n"


def test_one_that_nobody_reads_stops_the_whole_tunnel(cluster: EmbeddedCluster) -> None:
    cluster.behaviour = Behaviour(half_close_grace=SOON)
    with RawTunnel(cluster, "ports") as tunnel:
        _, echo = tunnel.connect(ECHO)
        _, stalled = tunnel.connect(SILENT)
        assert stalled % 5 != echo % 5
        tunnel.send(data_frame(stalled, b"x" * 100_000))
        tunnel.send(data_frame(echo, b"still"))
        tunnel.until(lambda: tunnel.streams[echo].data == b"still")
        sock = tunnel.client.sock
        message, sent = data_frame(stalled, b"x" * 100_000), 0
        while _writable(sock):  # until nothing of it is read any more
            tunnel.send(message)
            sent += 1
            assert sent < 1000
        assert sent > 50
    cluster.wait_for(lambda: not cluster.forwarded_connections and not cluster.open_sessions)


def _writable(sock: socket.socket) -> bool:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 300_000)
    return bool(select.select([], [sock], [], 0.5)[1])


def test_without_stalling_others_go_on(cluster: EmbeddedCluster) -> None:
    cluster.behaviour = Behaviour(half_close_grace=SOON, stall_by_stream_id=False)
    with RawTunnel(cluster, "ports") as tunnel:
        _, stalled = tunnel.connect(SILENT)
        for _ in range(200):
            tunnel.send(data_frame(stalled, b"x" * 100_000))
        _, echo = tunnel.connect(ECHO)
        tunnel.send(data_frame(echo, b"still"))
        tunnel.until(lambda: tunnel.streams[echo].data == b"still")


def test_a_slow_dial_holds_up_itself_only(cluster: EmbeddedCluster) -> None:
    cluster.behaviour = Behaviour(half_close_grace=SOON, dial_delay=0.2)
    with RawTunnel(cluster, "ports") as tunnel:
        _, data = tunnel.connect(BANNER)
        tunnel.until_pong()
        assert not tunnel.streams[data].data
        tunnel.until(lambda: tunnel.streams[data].data == b"banner\n")


def test_cuts_of_writes() -> None:
    def cuts(size: int) -> list[tuple[int, int]]:
        found = []
        for frame in messages_of(b"x" * size):
            extra = {126: 2, 127: 8}.get(frame[1], 0)
            found.append((frame[0], len(frame) - 2 - extra))
        return found

    assert cuts(6008) == [(0x02, 4096), (0x80, 1912)]
    assert cuts(8192) == [(0x02, 4096), (0x80, 4096)]
    assert cuts(8200) == [(0x02, 4096), (0x00, 4096), (0x80, 8)]
    assert cuts(9004) == [(0x02, 9004), (0x80, 0)]
    assert cuts(4096) == [(0x82, 4096)]


def test_writes_are_what_was_said() -> None:
    frames = [control(2, bytes(range(30))), data_frame(3, b"y" * 40_000), data_frame(3), control(3, b"12345678")] * 30
    for turn in range(40):
        writes = list(writes_of(frames, turn))
        assert b"".join(writes) == b"".join(frames)
        assert max(map(len, writes)) <= 32 * 1024
        assert {2, 4, 8} <= set(map(len, writes))


def test_the_dictionary_is_that_of_the_draft() -> None:
    assert (len(DICTIONARY), zlib.adler32(DICTIONARY)) == (1423, 0xE3C6A7C2)


def test_a_behaviour_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="reply_order"):
        Behaviour(reply_order="random")  # type: ignore[arg-type]
