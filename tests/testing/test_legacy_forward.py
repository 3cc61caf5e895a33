"""Port-forward as it was before the tunnel, and what is refused before either begins."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator

import pytest

from kubex_stream.testing import Behaviour, EmbeddedCluster, EmbeddedPod, InjectedFrame
from tests.testing.pods import BANNER, ECHO, HALF, MISSING, SEND, SHA256, SILENT, SOON, port_pod
from tests.testing.raw_client import BINARY, CLOSE, CLOSED, PING, PONG, V4, V5, Answer, RawClient, upgrade_headers
from tests.testing.raw_tunnel import TUNNEL, forward_target


@pytest.fixture(scope="module")
def ports() -> Iterator[EmbeddedCluster]:
    with EmbeddedCluster([port_pod("ports")], quiet=True) as cluster:
        yield cluster


@pytest.fixture
def cluster(ports: EmbeddedCluster) -> Iterator[EmbeddedCluster]:
    ports.behaviour = Behaviour(half_close_grace=SOON)
    yield ports
    ports.wait_for(lambda: not ports.open_sessions and not ports.forwarded_connections)


def _forward(cluster: EmbeddedCluster, *ports: int, pod: str = "ports", protocol: str = V4) -> RawClient:
    client = RawClient(cluster)
    try:
        query = "&".join(f"ports={port}" for port in ports)
        client.request(forward_target(pod, f"?{query}"), upgrade_headers(protocol))
        answer = client.head()
        assert answer.status == 101, answer.line
        assert answer.header("Sec-WebSocket-Protocol") == V4
        for index, port in enumerate(ports):
            for channel in (2 * index, 2 * index + 1):
                assert client.receive() == (BINARY, bytes([channel & 0xFF]) + struct.pack("<H", port))
    except BaseException:
        client.sock.close()
        raise
    return client


def _refused(cluster: EmbeddedCluster, query: str, protocol: str | None = V4, pod: str = "ports") -> Answer:
    with RawClient(cluster) as client:
        client.request(forward_target(pod, query), upgrade_headers(protocol))
        return client.answer()


def test_a_connection_and_what_the_cluster_shows_of_it(cluster: EmbeddedCluster) -> None:
    with _forward(cluster, ECHO, protocol=f"{V5}, {V4}") as client:
        client.send(b"\x00hello")
        assert client.receive() == (BINARY, b"\x00hello")
        (info,) = cluster.open_sessions
        assert (info.kind, info.pod, info.subprotocol) == ("portforward", "ports", V4)
        assert cluster.forwarded_connections == 1
        client.send(b"are you there", PING)
        assert client.receive() == (PONG, b"are you there")
        client.send(b"\x03\xe8", CLOSE)
        assert client.rest().frames == [CLOSED]


def test_every_port_is_dialled_at_once_and_the_last_one_done_ends_it(cluster: EmbeddedCluster) -> None:
    with _forward(cluster, BANNER, MISSING, HALF, BANNER) as client:
        heard = client.rest()
    assert heard.channel(0) == heard.channel(6) == b"banner\n"
    assert heard.channel(3).startswith(b"error forwarding port 8089 to pod ")
    assert not heard.channel(2)
    assert heard.frames[-1] == CLOSED


def test_more_ports_than_channels(cluster: EmbeddedCluster) -> None:
    with _forward(cluster, *[ECHO] * 130) as client:
        client.send(b"\x02two")
        assert client.receive() == (BINARY, b"\x02two")


def test_channels_that_nobody_listens_to(cluster: EmbeddedCluster) -> None:
    with _forward(cluster, ECHO) as client:
        for message in (b"\x01error", b"\x02second port", b"\xff\x00", b"", b"\x00"):
            client.send(message)
        client.send(b"\x00heard")
        assert client.receive() == (BINARY, b"\x00heard")


@pytest.mark.parametrize("half_close", [False, True])
def test_much_both_ways(cluster: EmbeddedCluster, half_close: bool) -> None:
    cluster.behaviour = Behaviour(half_close=half_close, half_close_grace=SOON)
    with _forward(cluster, SEND) as client:
        client.send(b"\x005000000\n")
        size = 0
        while (found := client.receive()) is not None and found != CLOSED:
            assert found[1][:1] == b"\0"
            assert len(found[1]) <= 32 * 1024 + 1
            size += len(found[1]) - 1
            if half_close and size == 5_000_000:
                client.send(b"\x03\xe8", CLOSE)
    assert size == 5_000_000


def test_the_clients_close_reaches_a_server_that_answers_after_the_end(cluster: EmbeddedCluster) -> None:
    """There is nobody left to hear the answer, but nothing hangs either."""
    cluster.behaviour = Behaviour(half_close=True, half_close_grace=SOON)
    with _forward(cluster, SHA256) as client:
        client.send(b"\x00hello")
        client.send(b"\x03\xe8", CLOSE)
        assert client.rest().frames == [CLOSED]


def test_a_deleted_pod_is_a_close_without_a_word(cluster: EmbeddedCluster) -> None:
    cluster.add_pod(port_pod("doomed"))
    with _forward(cluster, ECHO, pod="doomed") as client:
        client.send(b"\x00hello")
        assert client.receive() == (BINARY, b"\x00hello")
        cluster.delete_pod("doomed")
        assert client.rest().frames == [CLOSED]


def test_one_that_nobody_reads_stops_everything(cluster: EmbeddedCluster) -> None:
    with _forward(cluster, SILENT, ECHO) as client:
        client.send(b"\x02hello")
        assert client.receive() == (BINARY, b"\x02hello")
        client.sock.settimeout(0.5)
        with pytest.raises(TimeoutError):  # noqa: PT012
            for _ in range(1000):
                client.send(b"\x00" + b"x" * 100_000)


@pytest.mark.parametrize("how", ["reset", "end"])
def test_a_client_that_vanishes_leaves_nothing(cluster: EmbeddedCluster, how: str) -> None:
    with _forward(cluster, ECHO, SILENT) as client:
        cluster.wait_for(lambda: cluster.forwarded_connections == 2)
        if how == "reset":
            client.reset()
    cluster.wait_for(lambda: not cluster.forwarded_connections and not cluster.open_sessions)


def test_faults(cluster: EmbeddedCluster) -> None:
    cluster.behaviour = Behaviour(half_close_grace=SOON, tcp_reset_after_bytes=10)
    with _forward(cluster, ECHO) as client:
        client.send(b"\x00" + b"x" * 20)
        heard = client.rest()
        assert (heard.channel(0), heard.end) == (b"x" * 10, "reset")
    cluster.behaviour = Behaviour(half_close_grace=SOON, close_after_bytes=10, close_code=1011)
    with _forward(cluster, ECHO) as client:
        client.send(b"\x00" + b"x" * 20)
        heard = client.rest()
        assert (heard.channel(0), heard.frames[-1]) == (b"x" * 10, (CLOSE, b"\x03\xf3"))
    cluster.behaviour = Behaviour(half_close_grace=SOON, inject=(InjectedFrame(b"\x07extra"),), no_pong=True)
    with _forward(cluster, ECHO) as client:
        client.send(b"nobody answers", PING)
        client.send(b"\x00x")
        assert [client.receive(), client.receive()] == [(BINARY, b"\x07extra"), (BINARY, b"\x00x")]


def test_an_unmasked_frame(cluster: EmbeddedCluster) -> None:
    with _forward(cluster, ECHO) as client:
        client.send(b"\x00x", masked=False)
        assert client.rest().frames == [(CLOSE, b"\x03\xea"), CLOSED]


# -- refusals ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("?ports=abc", 'parsing "abc": invalid syntax'),
        ("?ports=-1", 'parsing "-1": invalid syntax'),
        ("?ports=", 'parsing "": invalid syntax'),
        ("?ports=80,x", 'parsing "x": invalid syntax'),
        ("?ports=65536", 'parsing "65536": value out of range'),
    ],
)
def test_ports_that_are_none(cluster: EmbeddedCluster, query: str, message: str) -> None:
    for pod in ("ports", "nope"):  # it comes before everything else
        answer = _refused(cluster, query, pod=pod)
        assert answer.status == 400
        assert json.loads(answer.body)["message"] == f"cannot convert to []int32: strconv.ParseUint: {message}"


def test_texts_of_the_kubelet(cluster: EmbeddedCluster) -> None:
    answer = _refused(cluster, "?ports=80&ports=0")
    assert (answer.status, answer.body) == (400, b'port "0" must be > 0')
    for protocol in ("SPDY/3.1+portforward", "spdy/3.1+portforward.k8s.io", "SPDY/4+portforward.k8s.io", V4):
        answer = _refused(cluster, "", protocol)
        assert (answer.status, answer.body) == (400, b'query parameter "port" is required')


def test_a_server_before_the_tunnel(cluster: EmbeddedCluster) -> None:
    cluster.behaviour = Behaviour(tunnel=False, half_close_grace=SOON)
    answer = _refused(cluster, "", TUNNEL)
    assert (answer.status, answer.body) == (400, b'query parameter "port" is required')
    assert _refused(cluster, "?ports=80", TUNNEL).status == 403
    with _forward(cluster, ECHO) as client:
        client.send(b"\x00x")
        assert client.receive() == (BINARY, b"\x00x")


def test_a_server_without_the_older_protocol(cluster: EmbeddedCluster) -> None:
    cluster.behaviour = Behaviour(legacy=False)
    assert _refused(cluster, "?ports=80").status == 403
    assert _refused(cluster, "?ports=80", None).status == 403


def test_pods_that_cannot_be_forwarded_to(cluster: EmbeddedCluster) -> None:
    unscheduled, ended = EmbeddedPod("new", phase="Pending", scheduled=False), EmbeddedPod("old", phase="Succeeded")
    cluster.add_pod(unscheduled)
    cluster.add_pod(ended)
    try:
        answer = _refused(cluster, "", TUNNEL, "nope")
        assert json.loads(answer.body)["message"] == 'pods "nope" not found'
        answer = _refused(cluster, "", TUNNEL, "new")
        assert json.loads(answer.body)["message"] == "pod new does not have a host assigned"
        answer = _refused(cluster, "", TUNNEL, "old")
        assert (answer.status, answer.body) == (
            500,
            b"rpc error: code = Unknown desc = sandbox container is not running",
        )
    finally:
        cluster.delete_pod("new")
        cluster.delete_pod("old")


@pytest.mark.parametrize("protocol", [TUNNEL, V4])
def test_who_may(cluster: EmbeddedCluster, protocol: str) -> None:
    for rbac, message in (
        ("reader", 'pods "ports" is forbidden: '),
        ("nobody", 'User "nobody" cannot get resource "pods/portforward" in API group "" in the namespace "default"'),
    ):
        cluster.behaviour = Behaviour(rbac=rbac)  # type: ignore[arg-type]
        answer = _refused(cluster, "?ports=80", protocol)
        assert answer.status == 403
        assert json.loads(answer.body)["message"].endswith(message)


def test_without_an_upgrade(cluster: EmbeddedCluster) -> None:
    with RawClient(cluster) as client:
        client.request(forward_target("ports"))
        assert json.loads(client.answer().body)["message"] == "Upgrade request required"
        spdy = [("Connection", "Upgrade"), ("Upgrade", "SPDY/3.1")]
        client.request(forward_target("ports"), spdy, method="POST")
        assert b"this cluster speaks WebSocket only, not SPDY/3.1" in client.answer().body
