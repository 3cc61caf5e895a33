"""What has come of one channel and was not taken yet, as text or as bytes.

Text is decoded as it comes, so a character that is split between two messages survives.  Lines are found without looking at anything twice,
and taken without copying what is behind them.
"""

from __future__ import annotations

import codecs
from collections import deque
from collections.abc import Callable, Iterator
from typing import AnyStr, Generic

__all__ = ("Pieces", "binary_pieces", "text_pieces")


class Pieces(Generic[AnyStr]):
    """The pieces of one channel, in their order.

    :param empty: nothing, of the type that is given out
    :param newline: the end of a line
    :param decode: makes of bytes what is given out; the flag says that no more will come
    """

    def __init__(self, empty: AnyStr, newline: AnyStr, decode: Callable[[bytes, bool], AnyStr]) -> None:
        self._empty: AnyStr = empty
        self._newline: AnyStr = newline
        self._decode: Callable[[bytes, bool], AnyStr] = decode
        self._pieces: deque[tuple[int, AnyStr]] = deque()
        self._offset = 0  # into the first piece: what is before it was taken
        self._searched = 0  # so many pieces are known to have no end of a line
        self._joined: AnyStr | None = None
        #: Characters, or bytes, inside.
        self.size = 0

    def put(self, data: bytes, number: int, *, last: bool = False) -> None:
        """Add what has come.

        :param number: says where it stands among the pieces of all channels
        """
        piece = self._decode(data, last)
        if piece:
            self._pieces.append((number, piece))
            self._joined = None
            self.size += len(piece)

    def peek(self) -> AnyStr:
        """Everything, without taking it."""
        if self._joined is None:
            self._joined = self._empty.join(piece for _, piece in self._rest())
        return self._joined

    def take(self) -> AnyStr:
        """Everything."""
        taken = self.peek()
        self._clear()
        return taken

    def take_numbered(self) -> list[tuple[int, AnyStr]]:
        """Everything, in its pieces."""
        taken = list(self._rest())
        self._clear()
        return taken

    def line(self) -> AnyStr | None:
        """The next line without its end; None where there is no whole one."""
        while self._searched < len(self._pieces):
            start = 0 if self._searched else self._offset
            found = self._pieces[self._searched][1].find(self._newline, start)
            if found >= 0:
                return self._take_line(found)
            self._searched += 1
        return None

    def _take_line(self, end: int) -> AnyStr:
        parts = []
        for _ in range(self._searched):
            parts.append(self._pieces.popleft()[1][self._offset :])
            self._offset = 0
        piece = self._pieces[0][1]
        parts.append(piece[self._offset : end])
        self._offset = end + 1
        if self._offset == len(piece):
            self._pieces.popleft()
            self._offset = 0
        self._searched = 0
        self._joined = None
        line = self._empty.join(parts)
        self.size -= len(line) + 1
        return line

    def _rest(self) -> Iterator[tuple[int, AnyStr]]:
        offset = self._offset
        for number, piece in self._pieces:
            yield number, piece[offset:] if offset else piece
            offset = 0

    def _clear(self) -> None:
        self._pieces.clear()
        self._offset = self._searched = self.size = 0
        self._joined = None


def text_pieces() -> Pieces[str]:
    """For text in UTF-8; what is none becomes U+FFFD."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    return Pieces("", "\n", decoder.decode)


def binary_pieces() -> Pieces[bytes]:
    """For bytes."""
    return Pieces(b"", b"\n", lambda data, _: data)
