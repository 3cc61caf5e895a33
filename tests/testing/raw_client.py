"""A minimal client over a blocking socket, which shares nothing with the server under test: no HTTP library, no frame codec."""

from __future__ import annotations

import json
import socket
import ssl
import struct
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlencode, urlsplit

from kubex_stream.testing import EmbeddedCluster

PATIENCE: Final = 30.0
KEY: Final = "d2lyZSBwcm9iZSBrZXkgMQ=="
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
V5, V4 = "v5.channel.k8s.io", "v4.channel.k8s.io"
CLOSED: Final = (CLOSE, b"\x03\xe8")


@dataclass
class Answer:
    """The head of an answer and what is known of its body."""

    status: int
    line: str
    headers: list[tuple[str, str]]
    body: bytes = b""
    ended: bool = False

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)


@dataclass
class Heard:
    """What a session said, in order: ``(opcode, payload)`` of every frame, and how it ended."""

    frames: list[tuple[int, bytes]] = field(default_factory=list)
    end: str = ""

    def channel(self, number: int) -> bytes:
        return b"".join(
            payload[1:] for opcode, payload in self.frames if opcode < CLOSE and payload[:1] == bytes([number])
        )


class RawClient:
    """One connection, connected to the cluster's port."""

    def __init__(
        self, cluster: EmbeddedCluster, *, timeout: float = PATIENCE, context: ssl.SSLContext | None = None
    ) -> None:
        url = urlsplit(cluster.url)
        assert url.hostname is not None
        assert url.port is not None
        sock = socket.create_connection((url.hostname, url.port), timeout=timeout)
        if url.scheme == "https":
            context = context or ssl.create_default_context(cadata=cluster.ca_pem.decode())
            sock = context.wrap_socket(sock, server_hostname=url.hostname, suppress_ragged_eofs=False)
        self.sock = sock
        self.buffer = b""
        self.prefix = url.path
        self.token = cluster.token

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.sock.close()

    def request(
        self, target: str, headers: list[tuple[str, str]] | None = None, *, method: str = "GET", token: str | None = ""
    ) -> None:
        lines = [f"{method} {self.prefix}{target} HTTP/1.1", "Host: cluster"]
        bearer = self.token if token == "" else token
        if bearer is not None:
            lines.append(f"Authorization: Bearer {bearer}")
        lines += [f"{name}: {value}" for name, value in headers or []]
        self.sock.sendall("\r\n".join([*lines, "", ""]).encode())

    def more(self) -> bool:
        data = self.sock.recv(262144)
        self.buffer += data
        return bool(data)

    def head(self) -> Answer:
        while b"\r\n\r\n" not in self.buffer:
            assert self.more(), f"the connection ended in the head: {self.buffer!r}"
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        line, *rest = head.decode().split("\r\n")
        headers = [(name, value.strip()) for name, _, value in (each.partition(":") for each in rest)]
        return Answer(int(line.split()[1]), line, headers)

    def answer(self) -> Answer:
        """A whole answer with a Content-Length, or one that ends with the connection."""
        found = self.head()
        length = found.header("Content-Length")
        if length is None:
            while self.more():
                pass
            found.body, self.buffer, found.ended = self.buffer, b"", True
        else:
            while len(self.buffer) < int(length):
                assert self.more()
            found.body, self.buffer = self.buffer[: int(length)], self.buffer[int(length) :]
        return found

    def ended(self) -> bool:
        """Whether the server ends the connection now."""
        return not self.more()

    def send(
        self, payload: bytes, opcode: int = BINARY, *, fin: bool = True, masked: bool = True, rsv: int = 0
    ) -> None:
        self.sock.sendall(frame(payload, opcode, fin=fin, masked=masked, rsv=rsv))

    def receive(self) -> tuple[int, bytes] | None:
        """One frame; None at the end of the connection."""
        while True:
            found = self._cut()
            if found is not None:
                return found
            if not self.more():
                assert not self.buffer, "the connection ended within a frame"
                return None

    def _cut(self) -> tuple[int, bytes] | None:
        data = self.buffer
        if len(data) < 2:
            return None
        assert data[0] & 0xF0 == 0x80, "a server's frame has FIN and no reserved bits"
        assert not data[1] & 0x80, "a server's frame is not masked"
        size, start = data[1], 2
        if size >= 126:
            start = 4 if size == 126 else 10
            if len(data) < start:
                return None
            size = int.from_bytes(data[2:start], "big")
        if len(data) < start + size:
            return None
        self.buffer = data[start + size :]
        return data[0] & 0x0F, data[start : start + size]

    def rest(self, heard: Heard | None = None) -> Heard:
        """Every frame until the end of the connection."""
        heard = heard or Heard()
        try:
            while (found := self.receive()) is not None:
                heard.frames.append(found)
            heard.end = "eof"
        except (ConnectionResetError, ssl.SSLEOFError):  # under TLS an RST looks like a TCP end without close_notify
            heard.end = "reset"
        return heard

    def until(self, channel: int, text: bytes, heard: Heard | None = None) -> Heard:
        """Frames until ``channel`` has said ``text``."""
        heard = heard or Heard()
        while text not in heard.channel(channel):
            found = self.receive()
            assert found is not None, f"ended before {text!r}: {heard}"
            heard.frames.append(found)
        return heard

    def reset(self) -> None:
        """End the connection by RST."""
        fd = self.sock.detach()
        raw = socket.socket(fileno=fd)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raw.close()


def frame(payload: bytes, opcode: int = BINARY, *, fin: bool = True, masked: bool = True, rsv: int = 0) -> bytes:
    size, bit = len(payload), 0x80 if masked else 0
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    if size < 126:
        head = struct.pack("!BB", first, bit | size)
    elif size < 65536:
        head = struct.pack("!BBH", first, bit | 126, size)
    else:
        head = struct.pack("!BBQ", first, bit | 127, size)
    if not masked:
        return head + payload
    key = b"\x11\x22\x33\x44"
    pattern = (key * (size // 4 + 1))[:size]
    mixed = int.from_bytes(payload, "big") ^ int.from_bytes(pattern, "big")
    return head + key + mixed.to_bytes(size, "big")


def upgrade_headers(protocol: str | None) -> list[tuple[str, str]]:
    headers = [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", KEY),
    ]
    return headers if protocol is None else [*headers, ("Sec-WebSocket-Protocol", protocol)]


def exec_target(command: list[str], *, pod: str = "demo", kind: str = "exec", **flags: str) -> str:
    """The target of an exec; by default stdout and stderr are asked for."""
    query = [("command", word) for word in command]
    query += list((flags or {"stdout": "true", "stderr": "true"}).items())
    return f"/api/v1/namespaces/default/pods/{pod}/{kind}?{urlencode(query)}"


def open_exec(
    cluster: EmbeddedCluster, command: list[str], protocol: str = V5, *, pod: str = "demo", **flags: str
) -> RawClient:
    """A client whose exec has been answered by 101."""
    client = RawClient(cluster)
    try:
        client.request(exec_target(command, pod=pod, **flags), upgrade_headers(protocol))
        answer = client.head()
        assert answer.status == 101, answer.line
        assert answer.header("Sec-WebSocket-Protocol") == protocol
    except BaseException:
        client.sock.close()
        raise
    return client


def run(cluster: EmbeddedCluster, command: list[str], protocol: str = V5, **flags: str) -> Heard:
    """A command that needs no input, until the end of the connection."""
    with open_exec(cluster, command, protocol, **flags) as client:
        return client.rest()


def exit_code(heard: Heard) -> int:
    """The exit code that a session's Status tells."""
    status = json.loads(heard.channel(3))
    if status["status"] == "Success":
        return 0
    assert status["reason"] == "NonZeroExitCode"
    return int(status["details"]["causes"][0]["message"])
