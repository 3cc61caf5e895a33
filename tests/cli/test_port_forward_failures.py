"""``kubex-stream port-forward``: connections that fail, pods that go and come, signals, and what makes no sense."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Callable

import pytest

if sys.platform == "win32":
    pytest.skip("the embedded cluster is POSIX only", allow_module_level=True)

from kubex_stream.testing import Behaviour, EmbeddedCluster, EmbeddedPod
from tests.cli.conftest import WEB, Run, Start
from tests.cli.forwards import connect, failed, fetch, forwarding, interrupt, is_refused, local_port, said, told, web

# Connections that fail, pods that go and come -------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["tunnel", "legacy"])
def test_a_connection_that_fails_is_told_and_the_others_go_on(
    cluster: EmbeddedCluster, start: Start, protocol: str
) -> None:
    arguments = ("--protocol", protocol, "web-0", ":9", ":80", ":echo")
    with forwarding(start, cluster, *arguments, ports=3) as (process, (refused, web_port, echo)):
        with connect(echo) as open_before:
            for _ in range(2):
                with connect(refused) as connection, pytest.raises(ConnectionResetError):
                    connection.recv(1)
                assert said(process) == (
                    f"an error occurred forwarding {refused} -> 9: connection refused: nothing in the pod listens on port 9\n"
                )
            open_before.sendall(b"hello")
            assert open_before.recv(5, socket.MSG_WAITALL) == b"hello"
        assert fetch(web_port) == b"web-0\n"
        interrupt(process)


def test_a_pod_that_is_replaced(cluster: EmbeddedCluster, start: Start) -> None:
    with forwarding(start, cluster, "svc/web", ":8080") as (process, (port,)):
        assert fetch(port) == b"web-0\n"
        cluster.delete_pod("web-0")
        cluster.add_pod(web("web-1"))
        assert fetch(port) == b"web-1\n"
        lines = [said(process)]
        while "from now on" not in lines[-1]:
            lines.append(said(process))
        assert lines[-1] == "svc/web: forwarding to pod web-1 from now on\n"
        interrupt(process)


def test_a_pod_that_comes_later(cluster: EmbeddedCluster, start: Start) -> None:
    with start("port-forward", "svc/nobody", ":80", "--address", "127.0.0.1", cluster=cluster) as process:
        assert said(process) == "Waiting up to 60 s: service/nobody has no running pod\n"
        cluster.add_pod(EmbeddedPod("somebody", labels={"app": "nobody"}, ports=WEB))
        assert fetch(local_port(told(process))) == b"somebody\n"


@pytest.mark.parametrize("target", ["pending", "svc/nobody"])
def test_a_pod_that_never_runs(cluster: EmbeddedCluster, here: Run, target: str) -> None:
    done = here("port-forward", target, ":80", "--pod-running-timeout", "300ms", cluster=cluster)
    assert (done.stdout, done.returncode) == (b"", 1)
    waiting, error = done.stderr.decode().splitlines()
    problem = waiting.removeprefix("Waiting up to 0.3 s: ")
    assert error == f"error: {problem} (waited 0.3 s)"


def test_what_reads_no_lines_any_more_does_not_end_it(cluster: EmbeddedCluster, start: Start) -> None:
    with forwarding(start, cluster, "web-0", ":80", ":9", ports=2) as (process, (port, refused)):
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        process.stderr.close()
        for _ in range(4):
            assert fetch(port) == b"web-0\n"
            with connect(refused) as connection, pytest.raises(ConnectionResetError):
                connection.recv(1)
        interrupt(process)


# How it ends ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("backend", "number", "code"),
    [
        ("aiohttp", signal.SIGINT, 0),
        ("aiohttp", signal.SIGTERM, 128 + signal.SIGTERM),
        ("aiohttp", signal.SIGHUP, 128 + signal.SIGHUP),
        ("httpx", signal.SIGINT, 0),
        pytest.param("httpx", signal.SIGTERM, 128 + signal.SIGTERM, marks=pytest.mark.volume),
        pytest.param("httpx", signal.SIGHUP, 128 + signal.SIGHUP, marks=pytest.mark.volume),
    ],
)
def test_a_signal_ends_it_and_what_is_open(
    cluster: EmbeddedCluster, start: Start, backend: str, number: signal.Signals, code: int
) -> None:
    with forwarding(start, cluster, "--backend", backend, "web-0", ":7") as (process, (port,)):
        with connect(port) as connection:
            connection.sendall(b"x")
            assert connection.recv(1) == b"x"
            process.send_signal(number)
            with pytest.raises(ConnectionResetError):
                connection.recv(1)
        assert process.wait(30) == code
        assert process.stderr is not None
        assert process.stderr.read() == b""
        assert is_refused(port)
        cluster.wait_for(lambda: not cluster.forwarded_connections)


def test_a_signal_before_it_forwards(cluster: EmbeddedCluster, start: Start) -> None:
    with start("port-forward", "svc/nobody", ":80", cluster=cluster) as process:
        assert said(process).startswith("Waiting ")
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130


# What makes no sense --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nope", ":80"), 'Error from server (NotFound): pods "nope" not found'),
        (("svc/nope", ":80"), 'Error from server (NotFound): services "nope" not found'),
        (("web-0", ":nope"), "error: pod 'web-0' has no port named 'nope'; it names echo, http"),
        (("svc/web", ":81"), "error: service 'web' has no port 81"),
        (("done", ":80"), "error: pod 'done' cannot be forwarded to: it is Succeeded, not Running"),
    ],
)
def test_what_is_not_there(cluster: EmbeddedCluster, here: Run, arguments: tuple[str, ...], words: str) -> None:
    assert failed(here("port-forward", *arguments, cluster=cluster)) == words


def test_forbidden(here: Run) -> None:
    with EmbeddedCluster(quiet=True, behaviour=Behaviour(rbac="reader")) as cluster:
        assert failed(here("port-forward", "demo", ":80", cluster=cluster)).startswith(
            "Error from server (Forbidden): "
        )


HOW = "error: name a target and its ports, as in: kubex-stream port-forward svc/web 8080:80"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), HOW),
        (("web-0",), HOW),
        (("web-0", "80:90:100"), "error: '80:90:100' is no port: "),
        (("web-0", "0"), "error: '0' in '0' is no port of a pod: "),
        (("web-0", "70000:80"), "error: '70000' in '70000:80' is no local port: "),
        (("web-0", ""), "error: '' names no port of a pod: "),
        (("node/web-0", "80"), "error: 'node' is nothing that has ports to forward; "),
        (("web-0", "80", "--address", "example.com"), "error: 'example.com' is neither 'localhost' nor an IP address"),
        (("web-0", "80", "--address", ""), "error: '' is neither 'localhost' nor an IP address"),
        (("web-0", "80", "--protocol", "udp"), "error: --protocol is one of auto, tunnel, legacy, not 'udp'"),
        (("web-0", "80", "--pod-running-timeout", "soon"), "error: --pod-running-timeout takes a time as 30s, 2m"),
        (("web-0", "80", "--pod-running-timeout", "0s"), "error: --pod-running-timeout must be higher than zero"),
        (("web-0", "80", "--", "ls"), "error: port-forward takes no command"),
        (("web-0", "80", "--embedded", "--context", "x"), "error: --embedded brings its own cluster; "),
    ],
)
def test_command_lines_that_make_no_sense(
    parse: Callable[..., subprocess.CompletedProcess[bytes]], arguments: tuple[str, ...], words: str
) -> None:
    assert failed(parse("port-forward", *arguments)).startswith(words)
