"""Port-forwards of the load server: the tunnel, and the older channels.  The port says what to do.

    8080    every byte comes back
    8083    reads N and a line feed, sends N bytes and ends

Payload goes out as API servers send it: pieces of 32 KiB, and in the tunnel the head of each DATA frame in a message of its own.
"""

from __future__ import annotations

import threading
from functools import lru_cache
from typing import Final

from benchmarks.load.messages import Messages
from benchmarks.load.wire import CLOSE, Block, Wire, frame, frames_block, header
from kubex_stream.protocol import spdy
from kubex_stream.protocol.portforward import LEGACY_DATA, LEGACY_ERROR, port_frame
from kubex_stream.protocol.spdy_headers import HeaderCompressor, HeaderDecompressor

__all__ = ("ECHO", "SEND", "serve_legacy", "serve_tunnel")

ECHO: Final = 8080
SEND: Final = 8083

_PIECE: Final = 32 * 1024
_PIECES: Final = 32
_CLOSING: Final = frame((1000).to_bytes(2, "big"), CLOSE)


@lru_cache(maxsize=4096)
def _tunnel_block(stream_id: int, size: int, count: int) -> Block:
    head = frame(spdy.data_header(stream_id, size))
    body = header(size) + bytes(size)
    return frames_block([(head, len(head)), (body, len(body) - size)] * count, size * count)


@lru_cache
def _legacy_block(size: int, count: int) -> Block:
    head = header(size + 1) + bytes((LEGACY_DATA,))
    return frames_block([(head + bytes(size), len(head))] * count, size * count)


class _Tunnel:
    def __init__(self, wire: Wire, messages: Messages) -> None:
        self._wire = wire
        self._messages = messages
        self._replies, self._headers = HeaderCompressor(), HeaderDecompressor(65536)
        self._sending = threading.Lock()  # replies are one compressed stream, so their order is that of sending
        self._errors: dict[str, int] = {}  # by request
        self._streams: dict[int, tuple[int, str]] = {}  # port and request of the data streams
        self._lines: dict[int, bytes] = {}

    def serve(self) -> None:
        messages = self._messages
        while True:
            first, rest = spdy.HEAD.unpack(messages.read(spdy.HEAD.size))
            flags, size = rest >> 24, rest & 0xFFFFFF
            if not first & 0x80000000:
                self._data(first, messages.read(size), fin=bool(flags & spdy.FLAG_FIN))
                continue
            kind, payload = first & 0xFFFF, messages.read(size)
            if kind == spdy.Kind.SYN_STREAM:
                self._opened(payload)
            elif kind == spdy.Kind.PING:
                self._wire.send(frame(spdy.control_frame(kind, payload)))
            elif kind == spdy.Kind.RST_STREAM:
                self._forget(int.from_bytes(payload[:4], "big"))
            elif kind == spdy.Kind.GO_AWAY:
                self._wire.send(_CLOSING)

    def _opened(self, payload: bytes) -> None:
        stream_id = spdy.SYN.unpack_from(payload)[0]
        headers = self._headers.decompress(payload[spdy.SYN.size :])
        request = headers.get("requestid", "")
        if headers.get("streamtype") == "error":
            self._errors[request] = stream_id
        else:
            self._streams[stream_id] = (int(headers.get("port", "0")), request)
        with self._sending:
            self._wire.send(frame(spdy.encode_syn_reply(stream_id, self._replies.compress({}))))

    def _forget(self, stream_id: int) -> None:
        _, request = self._streams.pop(stream_id, (0, ""))
        self._errors.pop(request, None)
        self._lines.pop(stream_id, None)

    def _data(self, stream_id: int, data: bytes, *, fin: bool) -> None:
        port, _ = self._streams.get(stream_id, (0, ""))
        if port == ECHO and data:
            self._wire.send(frame(spdy.data_header(stream_id, len(data))) + frame(data))
        elif port == SEND:
            line = self._lines[stream_id] = self._lines.get(stream_id, b"") + data
            if line.endswith(b"\n"):
                threading.Thread(target=self._send, args=(stream_id, int(line))).start()
        if fin and port == ECHO:
            self._end(stream_id)

    def _send(self, stream_id: int, total: int) -> None:
        try:
            for size, count in _pieces(total):
                self._wire.send_block(_tunnel_block(stream_id, size, count))
            self._end(stream_id)
        except OSError:
            return

    def _end(self, stream_id: int) -> None:
        _, request = self._streams.get(stream_id, (0, ""))
        error = self._errors.get(request)
        self._forget(stream_id)
        ends = [each for each in (stream_id, error) if each is not None]
        self._wire.send(b"".join(frame(spdy.data_header(each, 0, fin=True)) for each in ends))


def _pieces(total: int) -> list[tuple[int, int]]:
    """What to send of ``total`` bytes: sizes of pieces, and how many of them at a time."""
    whole, rest = divmod(total, _PIECE)
    found = [(_PIECE, _PIECES)] * (whole // _PIECES)
    found += [(_PIECE, whole % _PIECES)] if whole % _PIECES else []
    return found + ([(rest, 1)] if rest else [])


def serve_tunnel(wire: Wire, early: bytes) -> None:
    """One tunnel, behind its 101.

    :raises ClientLeft: the client left, as it does at the end
    :raises OSError: likewise
    """
    _Tunnel(wire, Messages(wire, early)).serve()


def serve_legacy(wire: Wire, port: int, early: bytes) -> None:
    """One connection to one port, behind its 101.

    :raises ClientLeft: the client left
    :raises OSError: likewise
    """
    messages, line = Messages(wire, early), b""
    for channel in (LEGACY_DATA, LEGACY_ERROR):
        wire.send(frame(bytes((channel,)) + port_frame(port)))
    while True:
        data = messages.read(messages.next_frame())[1:]
        if port == ECHO and data:
            wire.send(frame(bytes((LEGACY_DATA,)) + data))
        elif port == SEND:
            line += data
            if line.endswith(b"\n"):
                break
    for size, count in _pieces(int(line)):
        wire.send_block(_legacy_block(size, count))
    wire.send(_CLOSING)
    while True:  # until the client's Close
        messages.next_frame()
