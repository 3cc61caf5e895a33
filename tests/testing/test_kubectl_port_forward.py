"""kubectl port-forward against the embedded cluster, with curl and with clients that end one direction only."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from kubex_stream.testing import Behaviour, EmbeddedCluster
from tests.testing.pods import BANNER, ECHO, MISSING, SHA256, port_pod
from tests.testing.test_kubectl import PATIENCE, kubectl_words

#: containerd's habits, with a tenth of its second.
HASTY: Final = Behaviour(half_close_grace=0.1)
_FORWARDING: Final = re.compile(r"Forwarding from 127\.0\.0\.1:(\d+) -> (\d+)")


@pytest.fixture(params=["path", "named"])
def words(request: pytest.FixtureRequest, embedded: EmbeddedCluster, tmp_path: Path) -> list[str]:
    """kubectl, and the arguments by which it finds the cluster and leaves the home directory alone."""
    where = ["--kubeconfig", str(embedded.kubeconfig), "--cache-dir", str(tmp_path / "cache")]
    return [*kubectl_words(request.param), *where]


@pytest.fixture
def ports(embedded: EmbeddedCluster) -> Iterator[EmbeddedCluster]:
    embedded.add_pod(port_pod("ports"))
    yield embedded
    embedded.delete_pod("ports")


@contextmanager
def _forward(words: list[str], *arguments: str) -> Iterator[tuple[subprocess.Popen[str], int, int]]:
    """A running port-forward: the process, the local port and the pod's."""
    with subprocess.Popen(
        [*words, "port-forward", "--address", "127.0.0.1", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            found = _FORWARDING.match(process.stdout.readline())
            assert found, process.communicate(timeout=PATIENCE)
            yield process, int(found[1]), int(found[2])
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("target", "port"),
    [("demo", ":80"), ("pod/demo", ":http"), ("svc/demo", ":80"), ("service/demo", ":http"), ("deploy/demo", ":http")],
)
def test_curl_through_every_kind_of_target(words: list[str], embedded: EmbeddedCluster, target: str, port: str) -> None:
    if shutil.which("curl") is None:
        pytest.skip("no curl in the PATH")
    embedded.behaviour = HASTY
    with _forward(words, target, port) as (_, local, remote):
        assert remote == 80
        url = f"http://127.0.0.1:{local}"
        done = subprocess.run(
            ["curl", "-sS", f"{url}/", f"{url}/bytes/3000000"], capture_output=True, timeout=PATIENCE, check=True
        )
        assert done.stdout == b"demo\n" + b"x" * 3_000_000


def test_an_echo_that_comes_back_whole(words: list[str], embedded: EmbeddedCluster) -> None:
    embedded.behaviour = HASTY
    data = os.urandom(10_000_000)
    with _forward(words, "svc/demo", ":7") as (_, local, _), socket.create_connection(("127.0.0.1", local)) as sock:
        sock.settimeout(PATIENCE)
        received = bytearray()
        for start in range(0, len(data), 100_000):
            sock.sendall(data[start : start + 100_000])
            while len(received) < start + 100_000:
                received += sock.recv(262_144)
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(1) == b""
        assert received == data
    embedded.wait_for(lambda: not embedded.open_sessions and not embedded.forwarded_connections)


@pytest.mark.usefixtures("ports")
@pytest.mark.parametrize("half_close", [False, True])
def test_a_client_that_ends_its_side_first(words: list[str], embedded: EmbeddedCluster, half_close: bool) -> None:
    """The answer to an end comes where ends are passed on; elsewhere the connection is cut a second later."""
    embedded.behaviour = Behaviour(half_close=half_close)
    data = os.urandom(1_000_000)
    with _forward(words, "ports", f":{SHA256}") as (_, local, _):
        with socket.create_connection(("127.0.0.1", local), timeout=PATIENCE) as sock:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            answer = b"".join(iter(lambda: sock.recv(1000), b""))
    assert answer == (hashlib.sha256(data).hexdigest().encode() + b"\n" if half_close else b"")


@pytest.mark.usefixtures("ports")
def test_a_server_that_speaks_first(words: list[str]) -> None:
    with _forward(words, "ports", f":{BANNER}") as (_, local, _):
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", local), timeout=PATIENCE) as sock:
                assert b"".join(iter(lambda: sock.recv(1000), b"")) == b"banner\n"


@pytest.mark.usefixtures("ports")
def test_a_refused_port(words: list[str]) -> None:
    with _forward(words, "ports", f":{MISSING}") as (process, local, _):
        with socket.create_connection(("127.0.0.1", local), timeout=PATIENCE) as sock:
            sock.sendall(b"hello")
            with socket_errors():
                assert sock.recv(1000) == b""
        _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert "connection refused" in errors
    assert errors.endswith("error: lost connection to pod\n")


@contextmanager
def socket_errors() -> Iterator[None]:
    """A connection that kubectl may also end by force."""
    try:
        yield
    except ConnectionResetError:
        return


def test_a_deleted_pod(words: list[str], embedded: EmbeddedCluster) -> None:
    embedded.add_pod(port_pod("doomed"))
    with _forward(words, "doomed", f":{ECHO}") as (process, local, _):
        with socket.create_connection(("127.0.0.1", local), timeout=PATIENCE) as sock:
            sock.sendall(b"hello")
            assert sock.recv(1000) == b"hello"
            embedded.delete_pod("doomed")
            assert sock.recv(1000) == b""
        with socket.create_connection(("127.0.0.1", local), timeout=PATIENCE) as sock, socket_errors():
            assert sock.recv(1000) == b""
        _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert re.search(r"network namespace for sandbox .* is closed", errors)


def test_what_is_refused(words: list[str], embedded: EmbeddedCluster) -> None:
    def refusal(*arguments: str) -> str:
        done = subprocess.run(
            [*words, "port-forward", *arguments], capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        assert done.returncode == 1
        return done.stderr

    assert 'pods "nope" not found' in refusal("nope", ":80")
    assert 'services "nope" not found' in refusal("svc/nope", ":80")
    assert "does not have a service port 81" in refusal("svc/demo", ":81")
    embedded.behaviour = Behaviour(rbac="reader")
    assert "forbidden" in refusal("demo", ":80")


def test_get_services_and_workloads(words: list[str]) -> None:
    done = subprocess.run(
        [*words, "get", "svc,deploy", "-o", "name"], capture_output=True, text=True, timeout=PATIENCE, check=True
    )
    assert done.stdout.split() == ["service/demo", "deployment.apps/demo"]
    listed = subprocess.run([*words, "get", "svc"], capture_output=True, text=True, timeout=PATIENCE, check=True)
    assert [line.split()[0] for line in listed.stdout.splitlines()] == ["NAME", "demo"]
    assert "80/TCP,7/TCP" in listed.stdout
