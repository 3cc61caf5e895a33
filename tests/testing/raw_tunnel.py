"""A minimal client of the port-forward tunnel, which shares nothing with the server under test but the constant dictionary of SPDY."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

from kubex_stream.protocol.spdy_headers import DICTIONARY
from kubex_stream.testing import EmbeddedCluster
from tests.testing.raw_client import CLOSE, PONG, RawClient, upgrade_headers

TUNNEL: Final = "SPDY/3.1+portforward.k8s.io"
SYN_STREAM, SYN_REPLY, RST, PING, GOAWAY = 1, 2, 3, 6, 7
NAMES: Final = {SYN_STREAM: "SYN_STREAM", SYN_REPLY: "SYN_REPLY", RST: "RST", PING: "PING", GOAWAY: "GOAWAY"}


def forward_target(pod: str = "demo", query: str = "", namespace: str = "default") -> str:
    return f"/api/v1/namespaces/{namespace}/pods/{pod}/portforward{query}"


@dataclass
class SpdyFrame:
    """A frame; ``payload`` is the data, or the decompressed headers."""

    name: str
    stream: int
    flags: int = 0
    payload: bytes = b""
    status: int = 0

    @property
    def fin(self) -> bool:
        return bool(self.flags & 1)


class SpdyReader:
    """One direction's bytes to frames."""

    def __init__(self) -> None:
        self.buffer = bytearray()
        self._zlib = zlib.decompressobj(zdict=DICTIONARY)

    def feed(self, data: bytes) -> list[SpdyFrame]:
        self.buffer += data
        found = []
        while len(self.buffer) >= 8:
            first, second = struct.unpack_from(">II", self.buffer)
            end = 8 + (second & 0xFFFFFF)
            if len(self.buffer) < end:
                break
            body = bytes(self.buffer[8:end])
            del self.buffer[:end]
            found.append(self._frame(first, second >> 24, body))
        return found

    def _frame(self, first: int, flags: int, body: bytes) -> SpdyFrame:
        if not first & 0x80000000:
            return SpdyFrame("DATA", first, flags, body)
        assert first >> 16 == 0x8003, f"{first:08x} is no control frame of SPDY/3"
        name, (number,) = NAMES[first & 0xFFFF], struct.unpack_from(">I", body)
        if name in ("SYN_STREAM", "SYN_REPLY"):
            block = body[10:] if name == "SYN_STREAM" else body[4:]
            return SpdyFrame(name, number, flags, self._zlib.decompress(block))
        status = struct.unpack_from(">I", body, 4)[0] if len(body) == 8 else 0
        return SpdyFrame(name, number, flags, status=status)


@dataclass
class Stream:
    """What a server has said on one stream."""

    replies: int = 0
    data: bytearray = field(default_factory=bytearray)
    ended: bool = False
    reset: int | None = None


class RawTunnel:
    """A tunnel to a pod of a cluster, whose request has been answered by 101; or over a client that is so far already."""

    def __init__(self, peer: EmbeddedCluster | RawClient, pod: str = "demo", namespace: str = "default") -> None:
        self.client = peer if isinstance(peer, RawClient) else _opened(peer, forward_target(pod, namespace=namespace))
        self._zlib = zlib.compressobj(9, zlib.DEFLATED, 15, 8, zlib.Z_DEFAULT_STRATEGY, DICTIONARY)
        self._reader = SpdyReader()
        self._rest = memoryview(b"")
        self.cuts: list[tuple[int, bool, int]] = []  # of WebSocket frames: opcode, FIN, length
        self.controls: list[tuple[int, bytes]] = []
        self.frames: list[SpdyFrame] = []  # without DATA
        self.streams: dict[int, Stream] = {}
        self.ended = False
        self.next_id = 1
        self.requests = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.client.sock.close()

    # Making frames --------------------------------------------------------------------------------------------------

    def syn(self, headers: dict[str, str], *, stream: int | None = None, fin: bool = False) -> bytes:
        """SYN_STREAM; it has to be sent before the next one is made."""
        raw = struct.pack(">I", len(headers))
        for name, value in headers.items():
            raw += struct.pack(">I", len(name)) + name.encode() + struct.pack(">I", len(value)) + value.encode()
        block = self._zlib.compress(raw) + self._zlib.flush(zlib.Z_SYNC_FLUSH)
        number = self.next_id if stream is None else stream
        self.next_id = number + 2
        self.streams[number] = Stream()
        return control(SYN_STREAM, struct.pack(">IIBB", number, 0, 0, 0) + block, fin)

    def pair(self, port: int, *, end_error: bool = True) -> tuple[bytes, int, int]:
        """Both streams of a connection in one go; the bytes, and the ids of error and data stream."""
        error, data = self.next_id, self.next_id + 2
        common = {"port": str(port), "requestid": str(self.requests)}
        self.requests += 1
        frames = self.syn({"streamtype": "error", **common}, fin=end_error)
        return frames + self.syn({"streamtype": "data", **common}), error, data

    def connect(self, port: int) -> tuple[int, int]:
        """Open a connection and wait for both replies; the ids of error and data stream."""
        frames, error, data = self.pair(port)
        self.send(frames)
        self.until(lambda: self.streams[error].replies and self.streams[data].replies)
        return error, data

    # Talking --------------------------------------------------------------------------------------------------------

    def send(self, data: bytes, *, step: int = 0) -> None:
        """Send bytes as one message, or as messages of ``step`` bytes."""
        for start in range(0, len(data), step or len(data)):
            self.client.send(data[start : start + (step or len(data))])

    def message(self) -> bool:
        """Take one WebSocket frame; False at the end of the connection."""
        found = self.cut()
        if found is None:
            self.ended = True
            return False
        opcode, fin, payload = found
        if opcode >= CLOSE:
            self.controls.append((opcode, payload))
            return True
        self.cuts.append((opcode, fin, len(payload)))
        for frame in self._reader.feed(payload):
            self._take(frame)
        return True

    def _take(self, frame: SpdyFrame) -> None:
        if frame.name != "DATA":
            self.frames.append(frame)
        if frame.name in ("PING", "GOAWAY"):
            return
        stream = self.streams.setdefault(frame.stream, Stream())
        assert stream.reset is None, "a stream goes on after its reset"
        assert not stream.ended or frame.name == "RST", "a stream goes on after its end"
        stream.replies += frame.name == "SYN_REPLY"
        if frame.name == "RST":
            stream.reset = frame.status
        if frame.name == "DATA":
            stream.data += frame.payload
            stream.ended = frame.fin

    def until(self, condition: object) -> None:
        """Take frames until ``condition()`` is true."""
        assert callable(condition)
        while not condition():
            assert self.message(), f"ended: {self.controls}, {self.frames[-3:]}"

    def until_pong(self, text: bytes = b"x") -> None:
        """Everything that the server has made before it answers a WebSocket ping now."""
        self.client.send(text, 9)
        self.until(lambda: (PONG, text) in self.controls)

    @property
    def rest_of_frame(self) -> bytes:
        """What has come of a SPDY frame that is not whole."""
        return bytes(self._reader.buffer)

    def rest(self) -> None:
        """Everything until the end of the connection."""
        while self.message():
            pass

    def cut(self) -> tuple[int, bool, bytes] | None:
        """One WebSocket frame as it comes: opcode, FIN, payload; None at the end of the connection."""
        while True:
            rest = self._rest
            if len(rest) >= 2:
                assert not rest[0] & 0x70, "reserved bits"
                assert not rest[1] & 0x80, "a server's frame is not masked"
                size, start = rest[1], 2
                if size >= 126:
                    start = 4 if size == 126 else 10
                    size = int.from_bytes(rest[2:start], "big")
                if len(rest) >= start + size and len(rest) >= start:
                    self._rest = rest[start + size :]
                    return rest[0] & 0x0F, bool(rest[0] & 0x80), bytes(rest[start : start + size])
            if not self.client.buffer and not self.client.more():
                assert not rest, "the connection ended within a frame"
                return None
            self._rest, self.client.buffer = memoryview(bytes(rest) + self.client.buffer), b""


def _opened(cluster: EmbeddedCluster, target: str) -> RawClient:
    client = RawClient(cluster)
    try:
        client.request(target, upgrade_headers(TUNNEL))
        answer = client.head()
        assert answer.status == 101, answer.line
        assert answer.header("Sec-WebSocket-Protocol") == TUNNEL
    except BaseException:
        client.sock.close()
        raise
    return client


def control(kind: int, body: bytes, fin: bool = False) -> bytes:
    """A control frame."""
    return struct.pack(">II", 0x80030000 | kind, int(fin) << 24 | len(body)) + body


def data_frame(stream: int, payload: bytes = b"", *, fin: bool = False) -> bytes:
    return struct.pack(">II", stream, int(fin) << 24 | len(payload)) + payload


def rst_frame(stream: int, status: int = 5) -> bytes:
    return control(RST, struct.pack(">II", stream, status))


def ping_frame(number: int) -> bytes:
    return control(PING, struct.pack(">I", number))
