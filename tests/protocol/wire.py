"""SPDY/3.1 written down a second time, as plainly as it goes, for whole byte strings only: what the library is compared with."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping

from kubex_stream.protocol.spdy_headers import DICTIONARY

SYN_STREAM, SYN_REPLY, RST, SETTINGS, PING, GOAWAY, HEADERS, WINDOW_UPDATE = 1, 2, 3, 4, 6, 7, 8, 9
FIN = 1

#: A frame, read: ("DATA", id, flags, payload), ("SYN_STREAM", id, flags, headers) …
Line = tuple[object, ...]


def frame(kind: int, payload: bytes, flags: int = 0) -> bytes:
    return b"\x80\x03" + struct.pack(">HB", kind, flags) + len(payload).to_bytes(3, "big") + payload


def data(stream_id: int, payload: bytes = b"", flags: int = 0) -> bytes:
    return struct.pack(">IB", stream_id, flags) + len(payload).to_bytes(3, "big") + payload


def words(*numbers: int) -> bytes:
    return struct.pack(f">{len(numbers)}I", *numbers)


def plain_block(pairs: Iterable[tuple[str, str]]) -> bytes:
    """A header block before compression; names may repeat."""
    listed = list(pairs)
    parts = [words(len(listed))]
    for text in (text.encode("latin-1") for pair in listed for text in pair):
        parts.append(words(len(text)) + text)
    return b"".join(parts)


class Deflater:
    """A sending direction: frames with header blocks."""

    def __init__(self, level: int = 9) -> None:
        self._zlib = zlib.compressobj(level, zlib.DEFLATED, 15, 8, zlib.Z_DEFAULT_STRATEGY, DICTIONARY)

    def block(self, raw: bytes) -> bytes:
        return self._zlib.compress(raw) + self._zlib.flush(zlib.Z_SYNC_FLUSH)

    def syn_stream(self, stream_id: int, headers: Mapping[str, str], flags: int = 0) -> bytes:
        return frame(SYN_STREAM, words(stream_id, 0) + b"\0\0" + self.block(plain_block(list(headers.items()))), flags)

    def syn_reply(self, stream_id: int, headers: Mapping[str, str] | None = None, flags: int = 0) -> bytes:
        return frame(SYN_REPLY, words(stream_id) + self.block(plain_block(list((headers or {}).items()))), flags)

    def headers(self, stream_id: int, headers: Mapping[str, str], flags: int = 0) -> bytes:
        return frame(HEADERS, words(stream_id) + self.block(plain_block(list(headers.items()))), flags)


class Reader:
    """A receiving direction: whole frames of good order to lines."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(zdict=DICTIONARY)

    def lines(self, raw: bytes) -> list[Line]:
        return list(self._lines(raw))

    def _lines(self, raw: bytes) -> Iterator[Line]:
        while raw:
            first, flags, length = struct.unpack(">I", raw[:4])[0], raw[4], int.from_bytes(raw[5:8], "big")
            payload, raw = raw[8 : 8 + length], raw[8 + length :]
            assert len(payload) == length
            yield self._line(first, flags, payload)

    def _line(self, first: int, flags: int, payload: bytes) -> Line:
        if first < 0x80000000:
            return "DATA", first, flags, payload
        assert first >> 16 == 0x8003
        numbers = struct.unpack(f">{min(len(payload) // 4, 2)}I", payload[:8])
        match first & 0xFFFF:
            case 1:
                assert payload[4:10] == bytes(6)
                return "SYN_STREAM", numbers[0], flags, self._headers(payload[10:])
            case 2:
                return "SYN_REPLY", numbers[0], flags, self._headers(payload[4:])
            case 3:
                return "RST", *numbers
            case 6:
                return "PING", *numbers
            case 7:
                return "GOAWAY", *numbers
        raise AssertionError(f"type {first & 0xFFFF} is never sent")

    def _headers(self, block: bytes) -> dict[str, str]:
        assert block.endswith(b"\0\0\xff\xff")
        raw = self._zlib.decompress(block)
        count, texts, raw = struct.unpack(">I", raw[:4])[0], [], raw[4:]
        while raw:
            length = struct.unpack(">I", raw[:4])[0]
            texts.append(raw[4 : 4 + length].decode("latin-1"))
            raw = raw[4 + length :]
        assert len(texts) == 2 * count
        return dict(zip(texts[::2], texts[1::2], strict=True))


def cut(raw: bytes, sizes: Iterable[int]) -> Iterator[bytes]:
    """``raw`` in pieces of these sizes, the last one as long as it has to be."""
    for size in sizes:
        if not raw:
            return
        yield raw[:size]
        raw = raw[size:]
    if raw:
        yield raw
