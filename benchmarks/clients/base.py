"""What a client that is measured can do; each in the way that its documentation shows."""

from __future__ import annotations

import ssl
import tempfile
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from kubex_stream import ClientConfiguration

__all__ = ("CHUNK", "ECHO", "ECHO_PORT", "SEND_PORT", "BarePath", "Client", "Place", "selector")

#: Bytes of one write to a command's stdin, and of one echo.
CHUNK: Final = 32 * 1024
ECHO: Final = 64
#: What the ports of the pod do is said at :class:`Client`.
SEND_PORT: Final = 8083
ECHO_PORT: Final = 8080


@dataclass(frozen=True, slots=True)
class Place:
    """Where the pod is.

    :ivar protocol: of port-forwards: tunnel or legacy
    """

    kubeconfig: str
    context: str | None = None
    namespace: str = "default"
    pod: str = "bench"
    protocol: str = "tunnel"
    #: One that has ended, so that following its log comes to an end.
    log_pod: str = "bench-ended"
    send_port: int = SEND_PORT
    echo_port: int = ECHO_PORT


class Client:
    """A client, entered once; a method that it does not have is not measured."""

    #: Ports of the pod: one that reads N and a line feed and sends N bytes, one that gives back what it gets.
    send_port: int
    echo_port: int

    def __init__(self, place: Place) -> None:
        self.place = place
        self.send_port, self.echo_port = place.send_port, place.echo_port

    def cpu_clock(self) -> float:
        """Seconds of CPU time that whoever does the work has used; by default this process."""
        return time.process_time()

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[None, None]:
        """While this lasts, the client can be used."""
        yield

    async def down(self, command: Sequence[str]) -> int:
        """Take everything from stdout as it comes, keep nothing: its bytes."""
        raise NotImplementedError

    async def run(self, command: Sequence[str]) -> int:
        """Keep everything of stdout until the end: its bytes."""
        raise NotImplementedError

    async def up(self, command: Sequence[str], total: int) -> int:
        """Send so many bytes to stdin, in writes of 32 KiB, and wait until the command has ended: the bytes."""
        raise NotImplementedError

    async def duplex(self, command: Sequence[str], total: int) -> int:
        """Both at once, with a command that gives back as much as it gets: the bytes of one direction."""
        raise NotImplementedError

    async def echo(self, command: Sequence[str], count: int) -> list[float]:
        """Send 64 bytes, wait for them, again and again in one session: the seconds of each time."""
        raise NotImplementedError

    async def session(self, command: Sequence[str]) -> None:
        """A whole session with a command that ends at once: open it, wait for the exit code, leave."""
        raise NotImplementedError

    def idle(self, command: Sequence[str]) -> AbstractAsyncContextManager[None]:
        """A session that is open while this lasts."""
        raise NotImplementedError

    async def log_read(self, lines: int) -> int:
        """Keep the last so many lines of the log, as it is now: their bytes."""
        raise NotImplementedError

    async def log_follow(self, lines: int) -> int:
        """Follow the log, beginning with its last so many lines, line by line with their times, until its end: the lines."""
        raise NotImplementedError

    async def watch(self, resource: str, events: int) -> int:
        """Watch ``pods`` or ``configmaps`` until so many changes have come, and leave: the changes."""
        raise NotImplementedError

    async def forward_down(self, total: int) -> int:
        """Take so many bytes from a port, in one connection: the bytes."""
        raise NotImplementedError

    async def forward_echo(self, count: int) -> list[float]:
        """As :meth:`echo`, through a port."""
        raise NotImplementedError

    async def forward_session(self) -> None:
        """A whole connection to a port, with one byte there and back."""
        raise NotImplementedError


def selector(events: int) -> str:
    """The label selector by which the load server is told how many changes there are."""
    return f"events={events}"


def query(command: Sequence[str], *, stdin: bool = False) -> str:
    """The query of an exec request."""
    words = "".join(f"&command={quote(word, safe='')}" for word in command)
    return f"stdin={str(stdin).lower()}&stdout=true&stderr={str(not stdin).lower()}&tty=false{words}"


@dataclass(slots=True)
class BarePath:
    """What a bare library needs to know to reach the pod.

    :ivar url: of the API server
    :ivar tls: None for plain http
    """

    url: str
    pod: str
    log_pod: str
    tls: ssl.SSLContext | None
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    async def find(cls, place: Place) -> BarePath:
        """Read it from the kubeconfig: authorities, client certificates and static tokens."""
        read = await ClientConfiguration.load(kubeconfig=place.kubeconfig, context=place.context)
        pods = f"/api/v1/namespaces/{place.namespace}/pods"
        headers = {"Authorization": f"Bearer {read.token}"} if isinstance(read.token, str) else {}
        tls = _context(read) if read.url.startswith("https") else None
        return cls(read.url, f"{pods}/{place.pod}", f"{pods}/{place.log_pod}", tls, headers)

    def exec(self, command: Sequence[str], *, stdin: bool = False, scheme: str = "http") -> str:
        """The URL of an exec request, its scheme begun with ``http`` or ``ws``."""
        return f"{scheme}{self.url.removeprefix('http')}{self.pod}/exec?{query(command, stdin=stdin)}"

    def log(self, lines: int, *, follow: bool) -> str:
        """The URL of a request for the log."""
        return f"{self.url}{self.log_pod}/log?follow={str(follow).lower()}&timestamps=true&tailLines={lines}"

    def watch(self, resource: str, events: int) -> str:
        """The URL of a watch."""
        space = self.pod.rpartition("/pods/")[0]
        return f"{self.url}{space}/{resource}?watch=1&resourceVersion=1&labelSelector={selector(events)}"


def _context(read: ClientConfiguration) -> ssl.SSLContext:
    authorities = None if read.server_ca_data is None else read.server_ca_data.decode()
    file = None if read.server_ca_file is None else str(read.server_ca_file)
    context = ssl.create_default_context(cafile=file if authorities is None else None, cadata=authorities)
    certificate: Any = read.client_cert_data or (read.client_cert_file and read.client_cert_file.read_bytes())
    key: Any = read.client_key_data or (read.client_key_file and read.client_key_file.read_bytes())
    if certificate and key:
        with tempfile.TemporaryDirectory() as folder:
            both = Path(folder, "both.pem")
            both.touch(0o600)
            both.write_bytes(certificate + b"\n" + key)
            context.load_cert_chain(both)
    return context
