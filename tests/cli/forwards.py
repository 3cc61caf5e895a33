"""A running ``kubex-stream port-forward``, and clients of its local ports."""

from __future__ import annotations

import http.client
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from kubex_stream.testing import EmbeddedCluster, EmbeddedPod
from tests.cli.conftest import WEB, Process, Start

__all__ = (
    "connect", "failed", "fetch", "forwarding", "interrupt", "is_refused", "local_port", "said", "told", "web",
)  # fmt: skip

LINE = re.compile(r"Forwarding from (?P<address>\S+):(?P<local>\d+) -> (?P<remote>\d+)\n")


def web(name: str) -> EmbeddedPod:
    return EmbeddedPod(name, labels={"app": "web"}, ports=WEB)


def said(process: Process) -> str:
    """The next line on stderr."""
    assert process.stderr is not None
    return process.stderr.readline().decode()


def told(process: Process) -> str:
    """The next line on stdout."""
    assert process.stdout is not None
    return process.stdout.readline().decode()


@contextmanager
def forwarding(
    start: Start, cluster: EmbeddedCluster | None, *arguments: str, ports: int = 1
) -> Iterator[tuple[Process, list[int]]]:
    """The command, once it forwards, and its local ports."""
    with start("port-forward", "--address", "127.0.0.1", *arguments, cluster=cluster) as process:
        yield process, [local_port(told(process)) for _ in range(ports)]


def local_port(line: str) -> int:
    found = LINE.fullmatch(line)
    assert found is not None, line
    return int(found["local"])


def fetch(port: int, path: str = "/", host: str = "127.0.0.1") -> bytes:
    connection = http.client.HTTPConnection(host, port, timeout=30)
    try:
        connection.request("GET", path)
        return connection.getresponse().read()
    finally:
        connection.close()


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=30)


def is_refused(port: int) -> bool:
    try:
        connect(port).close()
    except ConnectionRefusedError:
        return True
    return False


def interrupt(process: Process) -> None:
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0


def failed(done: subprocess.CompletedProcess[bytes]) -> str:
    """The one line that a failed command says."""
    text = done.stderr.decode()
    assert (done.stdout, done.returncode, text.count("\n")) == (b"", 1, 1), text
    return text.rstrip("\n")
