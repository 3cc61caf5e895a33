"""How a Go server with github.com/gorilla/websocket cuts a byte stream into WebSocket frames, and which frames of a client it refuses.

Rules of this file:
- Every write is a message.  The SPDY library writes a frame field by field; what of that comes together, and what apart, depends on how
  the copying in between meets it, so here it goes through all the ways, one frame after the other.
- A message is written through a buffer of 4096 bytes: longer ones come as fragments of that size.  A write of more than twice the buffer
  goes past it: one fragment, and an empty last one.
- The copying reads 32 KiB at a time.
- A frame that breaks RFC 6455 is answered by a Close 1002 that says how.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from kubex_stream.testing import frames

__all__ = ("FrameJudge", "messages_of", "writes_of")

_BUFFER: Final = 4096
#: The buffer has room for the longest header besides.
_PAST_BUFFER: Final = 2 * (_BUFFER + 14)
_READ: Final = 32 * 1024
_MAX_CONTROL: Final = 125
#: Where a frame is cut, besides at what the copying reads; one after the other.  The last one leaves it to the frame behind it.
_CUTS: Final[tuple[tuple[int, ...], ...]] = ((), (2, 4, 8), (8,), (), (12,), (4,), (2, 4, 8, 12))
_DATA_CUTS: Final[tuple[tuple[int, ...], ...]] = ((), (8,), (4, 8))


def writes_of(spdy_frames: Iterable[bytes], turn: int) -> Iterator[bytes]:
    """The writes in which SPDY frames reach the WebSocket.

    :param turn: a number that grows by one with every frame; every fifth frame joins the next one, if there is one
    """
    joined = b""
    for number, frame in enumerate(spdy_frames, turn):
        if number % 5 == 4 and len(joined) + len(frame) < _BUFFER:
            joined += frame
            continue
        cuts = (_CUTS if frame[0] & 0x80 else _DATA_CUTS)[number % (7 if frame[0] & 0x80 else 3)]
        yield from _cut(joined + frame, [len(joined) + cut for cut in cuts])
        joined = b""
    if joined:
        yield joined


def _cut(data: bytes, cuts: list[int]) -> Iterator[bytes]:
    ends = sorted({*(cut for cut in cuts if cut < len(data)), len(data)})
    start = 0
    for end in ends:
        while start < end:
            yield data[start : min(end, start + _READ)]
            start = min(end, start + _READ)


def messages_of(write: bytes) -> Iterator[bytes]:
    """The WebSocket frames of one write."""
    if len(write) > _PAST_BUFFER:
        yield frames.encode_frame(frames.BINARY, write, fin=False)
        yield frames.encode_frame(frames.CONTINUATION, b"")
        return
    for start in range(0, len(write), _BUFFER):
        opcode = frames.CONTINUATION if start else frames.BINARY
        yield frames.encode_frame(opcode, write[start : start + _BUFFER], fin=start + _BUFFER >= len(write))


class FrameJudge:
    """Says what is wrong with each of a client's frames."""

    def __init__(self) -> None:
        self._final = True

    def complaint(self, frame: frames.Frame) -> str:
        """What is wrong with a frame, in the words of the Close that answers it; empty for a good one."""
        wrong = [f"RSV{bit} set" for bit in (1, 2, 3) if frame.rsv & 8 >> bit]
        if frame.opcode in (frames.CLOSE, frames.PING, frames.PONG):
            if len(frame.payload) > _MAX_CONTROL:
                wrong.append("len > 125 for control")
            if not frame.fin:
                wrong.append("FIN not set on control")
        elif frame.opcode in (frames.TEXT, frames.BINARY, frames.CONTINUATION):
            if self._final is (frame.opcode == frames.CONTINUATION):
                wrong.append("continuation after FIN" if self._final else "data before FIN")
            self._final = frame.fin
        else:
            wrong.append(f"bad opcode {frame.opcode}")
        if not frame.masked:
            wrong.append("bad MASK")
        return ", ".join(wrong)
