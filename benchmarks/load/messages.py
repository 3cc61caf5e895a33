"""What a client sends in a WebSocket, read with as little work as counting needs: payload that nobody looks at is never unmasked.

Rules of this file:
- Reading is a cursor over the payloads of all data frames, as one stream; ``frame_left`` says where the current one ends.
- Control frames are dealt with where they turn up: a ping is answered, a Close ends the stream.
"""

from __future__ import annotations

from typing import Final

from benchmarks.load.wire import PONG, Wire, frame

__all__ = ("ClientLeft", "Messages")

_SIZE: Final = 1024 * 1024


class ClientLeft(Exception):
    """The client has sent its Close, or is gone."""


class Messages:
    """The stream of a client's messages.

    :param early: what had come behind the request's head
    """

    def __init__(self, wire: Wire, early: bytes = b"") -> None:
        self._wire = wire
        self._buffer = bytearray(_SIZE if len(early) < _SIZE else 2 * len(early))
        self._view = memoryview(self._buffer)
        self._buffer[: len(early)] = early
        self._start, self._end = 0, len(early)
        self._mask = bytes(4)
        self._at = 0  # bytes of the current frame that have been read
        #: Bytes of the current frame that have not been read.
        self.frame_left = 0
        #: Whether the current frame goes on with the message of the one before.
        self.continues = False

    def _need(self, count: int) -> None:
        """Wait until so many bytes lie in the buffer."""
        while self._end - self._start < count:
            if self._start == self._end:
                self._start = self._end = 0
            elif len(self._buffer) - self._start < count:
                rest = bytes(self._view[self._start : self._end])
                self._buffer[: len(rest)] = rest
                self._start, self._end = 0, len(rest)
            got = self._wire.recv_into(self._view[self._end :])
            if not got:
                raise ClientLeft
            self._end += got

    def next_frame(self) -> int:
        """Go to the next data frame, leaving out what is left of this one: the size of its payload."""
        if self.frame_left:
            self.skip(self.frame_left)
        while True:
            self._need(2)
            first, second = self._buffer[self._start], self._buffer[self._start + 1] & 0x7F
            extra = 2 if second == 126 else 8 if second == 127 else 0
            self._need(6 + extra)
            at = self._start + 2
            size = int.from_bytes(self._buffer[at : at + extra], "big") if extra else second
            self._mask = bytes(self._buffer[at + extra : at + extra + 4])
            self._start, self._at, self.frame_left = at + extra + 4, 0, size
            opcode = first & 0x0F
            if opcode in (0, 1, 2):
                self.continues = opcode == 0
                return size
            payload = self.read(size)
            if opcode == 8:
                raise ClientLeft
            if opcode == 9:
                self._wire.send(frame(payload, PONG))

    def _data(self) -> None:
        while not self.frame_left:
            self.next_frame()

    def read(self, count: int) -> bytes:
        """So many bytes, unmasked, over as many frames as it takes."""
        parts = []
        while count:
            self._data()
            step = min(count, self.frame_left, 65536)
            self._need(step)
            parts.append(_unmasked(self._view[self._start : self._start + step], self._mask, self._at))
            self._passed(step)
            count -= step
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def skip(self, count: int) -> None:
        """Leave so many bytes out."""
        while count:
            self._data()
            step = min(count, self.frame_left)
            self._at += step
            self.frame_left -= step
            count -= step
            here = min(step, self._end - self._start)
            self._start += here
            step -= here
            while step:  # the buffer is empty: what comes is not kept
                got = self._wire.recv_into(self._view[: min(step, _SIZE)])
                if not got:
                    raise ClientLeft
                step -= got

    def _passed(self, count: int) -> None:
        self._start += count
        self._at += count
        self.frame_left -= count


def _unmasked(data: memoryview, mask: bytes, at: int) -> bytes:
    size = len(data)
    at %= 4
    key = (mask[at:] + mask[:at]) * (size // 4 + 1)
    return (int.from_bytes(data, "big") ^ int.from_bytes(key[:size], "big")).to_bytes(size, "big")
