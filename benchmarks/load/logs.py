"""The log of the load server: without end, so its client says with ``tailLines`` how much of it there is.

Lines have 120 bytes with their times, which they always have.  A log that is followed comes as an API server sends it: each line in a chunk, and
over TLS in a record, of its own; each second of the log has as many lines as are sent at once.  One that is not followed comes in
chunks of 2048 bytes and records of 4096, whatever ends where.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from benchmarks.load.http import ENDED, Head
from benchmarks.load.strips import Strip, chunk
from benchmarks.load.wire import Block, Wire

__all__ = ("LINE", "LOG", "serve_log")

#: The path of the log.
LOG: Final = f"/api/v1/namespaces/default/pods/{ENDED}/log"
#: Bytes of a line, its time and its end included.
LINE: Final = 120
#: Lines of a second, which fill whole chunks.
_DENSITY: Final = 8192
#: Where in a line the hour begins.
_HOUR: Final = 11
_WORDS: Final = b"level=info msg=done "
_CHUNK: Final = 2048
_RECORD: Final = 4096
_BEGINNING: Final = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nCache-Control: no-cache, private\r\nTransfer-Encoding: chunked\r\n\r\n"
_END: Final = b"0\r\n\r\n"


def _line(index: int) -> bytes:
    beginning = f"2026-03-01T08:00:00.{100_000_000 + index * 100_000:09d}Z {index:08d} ".encode()
    return (beginning + _WORDS * LINE)[: LINE - 1] + b"\n"


@lru_cache
def _lines() -> tuple[bytes, ...]:
    return tuple(_line(index) for index in range(_DENSITY))


def _follow(wire: Wire, count: int) -> None:
    strip, second = Strip(_lines()), 0
    while count > 0:
        hours, rest = divmod(second % 86400, 3600)
        strip.put(_HOUR, f"{hours:02d}:{rest // 60:02d}:{rest % 60:02d}".encode())
        wire.send_block(strip.block(min(count, _DENSITY)))
        count, second = count - _DENSITY, second + 1


@lru_cache
def _block(count: int) -> Block:
    text = b"".join(_lines()[:count])
    data = b"".join(chunk(text[at : at + _CHUNK]) for at in range(0, len(text), _CHUNK))
    view = memoryview(data)
    return Block(data, tuple(view[at : at + _RECORD] for at in range(0, len(data), _RECORD)), len(text))


def _read(wire: Wire, count: int) -> None:
    while count >= _DENSITY:
        wire.send_block(_block(_DENSITY))
        count -= _DENSITY
    if count:
        wire.send_block(_block(count))


def serve_log(wire: Wire, head: Head) -> None:
    """Answer one request for it.

    :raises OSError: the client left
    """
    count = int((head.all("tailLines") or ["0"])[0])
    wire.send(_BEGINNING)
    if head.flag("follow"):
        _follow(wire, count)
    else:
        _read(wire, count)
    wire.send(_END)
