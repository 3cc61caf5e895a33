"""``kubex-stream port-forward`` against an embedded cluster: its lines, targets, ports and addresses."""

from __future__ import annotations

import socket
import sys
from contextlib import ExitStack

import pytest

if sys.platform == "win32":
    pytest.skip("the embedded cluster is POSIX only", allow_module_level=True)

from kubex_stream.testing import Behaviour, EmbeddedCluster, EmbeddedPod
from tests.cli.conftest import WEB, Run, Start
from tests.cli.forwards import connect, fetch, forwarding, interrupt, local_port, said, told
from tests.ports import free_port

# What it says, and what passes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["aiohttp", "httpx"])
def test_kubectls_lines(cluster: EmbeddedCluster, start: Start, backend: str) -> None:
    with start("port-forward", "--backend", backend, "web-0", ":80", cluster=cluster) as process:
        port = local_port(first := told(process))
        assert first == f"Forwarding from 127.0.0.1:{port} -> 80\n"
        if socket.has_ipv6:
            assert told(process) == f"Forwarding from [::1]:{port} -> 80\n"
            assert fetch(port, host="::1") == b"web-0\n"
            assert told(process) == f"Handling connection for {port}\n"
        assert fetch(port) == b"web-0\n"
        assert told(process) == f"Handling connection for {port}\n"
        interrupt(process)
        assert process.stdout is not None
        assert process.stderr is not None
        assert (process.stdout.read(), process.stderr.read()) == (b"", b"")


@pytest.mark.parametrize(
    ("target", "port", "remote"),
    [
        pytest.param("pod/web-0", ":80", 80, marks=pytest.mark.volume),
        ("web-0", ":http", 80),
        ("svc/web", ":8080", 80),
        pytest.param("service/web", ":public", 80, marks=pytest.mark.volume),
        ("deploy/web", ":80", 80),
        pytest.param("deployment/web", ":http", 80, marks=pytest.mark.volume),
    ],
)
def test_targets(cluster: EmbeddedCluster, start: Start, target: str, port: str, remote: int) -> None:
    with start("port-forward", "--address=127.0.0.1", target, port, cluster=cluster) as process:
        line = told(process)
        assert line.endswith(f" -> {remote}\n")
        assert fetch(local_port(line)) == b"web-0\n"


def test_several_ports_and_much_data(cluster: EmbeddedCluster, start: Start) -> None:
    with forwarding(start, cluster, "web-0", ":80", ":echo", ports=2) as (_, (web_port, echo)):
        assert len(fetch(web_port, "/bytes/3000000")) == 3000000
        with connect(echo) as connection:
            connection.sendall(b"hello")
            assert connection.recv(5, socket.MSG_WAITALL) == b"hello"


def test_a_local_port_of_ones_own(cluster: EmbeddedCluster, start: Start) -> None:
    port = free_port()
    with forwarding(start, cluster, "web-0", f"{port}:80") as (_, ports):
        assert ports == [port]
        assert fetch(port) == b"web-0\n"


@pytest.mark.parametrize("protocol", ["tunnel", "legacy"])
def test_protocols(cluster: EmbeddedCluster, start: Start, protocol: str) -> None:
    other = Behaviour(legacy=False) if protocol == "tunnel" else Behaviour(tunnel=False)
    with forwarding(start, cluster, "--protocol", protocol, "web-0", ":80") as (_, (port,)):
        cluster.behaviour = other
        assert fetch(port) == b"web-0\n"


@pytest.mark.parametrize("share", [True, False])
def test_share_is_one_tunnel(cluster: EmbeddedCluster, start: Start, share: bool) -> None:
    arguments = ("--share",) if share else ()
    with forwarding(start, cluster, *arguments, "web-0", ":7") as (_, (port,)), ExitStack() as stack:
        for _ in range(3):
            connection = stack.enter_context(connect(port))
            connection.sendall(b"x")
            assert connection.recv(1) == b"x"
        assert sum("/portforward" in request.path for request in cluster.requests) == (1 if share else 3)


@pytest.mark.parametrize("arguments", [("-n", "other", "port-forward"), ("port-forward", "-n", "other")])
def test_options_stand_before_or_after_the_verb(start: Start, arguments: tuple[str, ...]) -> None:
    pods = (EmbeddedPod("elsewhere", namespace="other", ports=WEB),)
    with (
        EmbeddedCluster(pods, quiet=True) as cluster,
        start(*arguments, "elsewhere", ":80", "--address", "127.0.0.1", cluster=cluster) as process,
    ):
        assert fetch(local_port(told(process))) == b"elsewhere\n"


@pytest.mark.parametrize(
    "target", ["svc/demo", *(pytest.param(each, marks=pytest.mark.volume) for each in ("demo", "deploy/demo"))]
)
def test_an_embedded_cluster_inside_of_the_command(start: Start, target: str) -> None:
    with forwarding(start, None, "--embedded", target, ":80") as (process, (port,)):
        assert fetch(port) == b"demo\n"
        assert "runs commands on this machine" in said(process)
        interrupt(process)


def test_verbose_tells_of_tunnels_and_connections(cluster: EmbeddedCluster, start: Start) -> None:
    with forwarding(start, cluster, "-v", "web-0", ":80") as (process, (port,)):
        assert fetch(port) == b"web-0\n"
        interrupt(process)
        assert process.stderr is not None
        text = process.stderr.read().decode()
    assert "/pods/web-0/portforward: open, SPDY/3.1+portforward.k8s.io" in text
    assert f"connection 1 for {port} from 127.0.0.1:" in text


# Addresses and ports that cannot be had -------------------------------------------------------------------------------


def test_only_the_address_that_is_asked_for(cluster: EmbeddedCluster, start: Start) -> None:
    with start("port-forward", "web-0", ":80", ":7", "--address", "127.0.0.1", cluster=cluster) as process:
        for remote in (80, 7):
            port = local_port(line := told(process))
            assert line == f"Forwarding from 127.0.0.1:{port} -> {remote}\n"


@pytest.mark.skipif(sys.platform != "linux", reason="needs all of 127.0.0.0/8")
@pytest.mark.parametrize("arguments", [("127.0.0.2,127.0.0.3",), ("127.0.0.2", "--address", "127.0.0.3")])
def test_several_addresses(cluster: EmbeddedCluster, start: Start, arguments: tuple[str, ...]) -> None:
    with start("port-forward", "web-0", ":80", "--address", *arguments, cluster=cluster) as process:
        port = local_port(first := told(process))
        assert [first, told(process)] == [f"Forwarding from 127.0.0.{last}:{port} -> 80\n" for last in (2, 3)]
        assert fetch(port, host="127.0.0.3") == b"web-0\n"


def test_one_port_that_is_taken_is_no_matter(cluster: EmbeddedCluster, start: Start) -> None:
    with socket.create_server(("127.0.0.1", free_port())) as taken:
        port = taken.getsockname()[1]
        with forwarding(start, cluster, "web-0", f"{port}:7", ":80") as (process, (other,)):
            assert said(process).startswith(f"Unable to listen on port {port}: cannot listen on 127.0.0.1:{port}: ")
            assert fetch(other) == b"web-0\n"
            interrupt(process)


def test_all_ports_are_taken(cluster: EmbeddedCluster, here: Run) -> None:
    with socket.create_server(("127.0.0.1", free_port())) as taken:
        port = taken.getsockname()[1]
        done = here("port-forward", "--address", "127.0.0.1", "web-0", f"{port}:80", f"{port}:7", cluster=cluster)
    assert (done.stdout, done.returncode) == (b"", 1)
    *each, last = done.stderr.decode().splitlines()
    assert [line.partition(":")[0] for line in each] == [f"Unable to listen on port {port}"] * 2
    assert last.startswith(f"error: unable to listen on any of the requested ports: {port}, {port}; ")


@pytest.mark.skipif(not socket.has_ipv6, reason="one of localhost's addresses is to be left")
def test_an_address_of_localhost_that_is_taken_is_told(cluster: EmbeddedCluster, start: Start) -> None:
    with socket.create_server(("127.0.0.1", free_port())) as taken:
        port = taken.getsockname()[1]
        with start("port-forward", "web-0", f"{port}:80", cluster=cluster) as process:
            assert told(process) == f"Forwarding from [::1]:{port} -> 80\n"
            assert f"cannot listen on 127.0.0.1:{port}: " in said(process)
