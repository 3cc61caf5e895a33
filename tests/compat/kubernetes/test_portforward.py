"""``portforward``: ports of a pod as sockets."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from kubex_stream.compat.kubernetes import PortForward, configure, portforward
from kubex_stream.testing import EmbeddedCluster
from tests.compat.kubernetes.conftest import Connect, official


@pytest.fixture
def own() -> Iterator[EmbeddedCluster]:
    with EmbeddedCluster(quiet=True) as cluster:
        yield cluster


def to(v1: Any, ports: str, **more: Any) -> PortForward:
    return portforward(v1.connect_get_namespaced_pod_portforward, "demo", "default", ports=ports, **more)


def read_all(connection: socket.socket) -> bytes:
    received = bytearray()
    while piece := connection.recv(65536):
        received += piece
    return bytes(received)


@pytest.mark.parametrize("backend", ["aiohttp", "httpx", "picows"])
def test_two_ports_at_once(v1: Any, backend: str) -> None:
    configure(backend=backend)
    forwarded = to(v1, "80,7")
    web = http.client.HTTPConnection("demo", 80)
    web.sock = forwarded.socket(80)
    web.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    web.request("GET", "/")
    assert web.getresponse().status == 200
    forwarded.socket(7).sendall(b"hello")
    assert forwarded.socket(7).recv(5) == b"hello"
    assert (forwarded.connected, forwarded.error(80), forwarded.error(7)) == (True, None, None)
    web.close()
    forwarded.close()
    assert not forwarded.connected


def test_the_answer_after_the_end_of_what_was_asked(v1: Any) -> None:
    """The official client loses it: the end of one direction ends the other."""
    forwarded = to(v1, "7")
    echo = forwarded.socket(7)
    data = bytes(range(256)) * 4096

    def ask() -> None:
        echo.sendall(data)
        echo.shutdown(socket.SHUT_WR)

    asking = threading.Thread(target=ask)
    asking.start()
    assert read_all(echo) == data
    asking.join(30)
    forwarded.close()


def test_a_port_where_nothing_listens(v1: Any) -> None:
    forwarded = to(v1, "81")
    assert forwarded.socket(81).recv(1) == b""
    assert "81" in str(forwarded.error(81))
    forwarded.close()


def test_sockets_that_are_closed_or_forgotten_end_it(own: EmbeddedCluster, connect: Connect) -> None:
    v1 = connect(own)
    closed, forgotten = to(v1, "7"), [to(v1, "7")]
    own.wait_for(lambda: own.forwarded_connections == 2)
    closed.socket(7).close()
    own.wait_for(lambda: own.forwarded_connections == 1)
    with pytest.warns(ResourceWarning):
        forgotten.clear()
    own.wait_for(lambda: own.forwarded_connections == 0)


def test_refusals(v1: Any) -> None:
    with pytest.raises(official.ApiException) as caught:
        portforward(v1.connect_get_namespaced_pod_portforward, "nobody", "default", ports="80")
    assert caught.value.status == 404


@pytest.mark.parametrize("ports", ["", "http", "0", "65536", "80,80", "80,"])
def test_bad_ports(v1: Any, ports: str) -> None:
    with pytest.raises(official.ApiValueError, match="port"):
        to(v1, ports)


def test_ports_that_were_not_asked_for(v1: Any) -> None:
    forwarded = to(v1, "7")
    for ask in (forwarded.socket, forwarded.error):
        with pytest.raises(ValueError, match="was not asked for"):
            ask(80)
    forwarded.close()
    with pytest.raises(TypeError, match="portforward"):
        portforward(v1.connect_get_namespaced_pod_exec, "demo", "default", command=["true"])
