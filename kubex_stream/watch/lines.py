"""From pieces of bytes to lines.

A line of a watch is one object, and nothing limits an object to the size of a read.  So the pieces of an unfinished line are kept as they
are and joined once, when its end has come: the cost is linear, whatever the sizes of lines and pieces.
"""

from __future__ import annotations

from typing import Final

from kubex_stream.errors import ProtocolViolation

__all__ = ("LONGEST_LINE", "LineSplitter")

#: Bytes.  An API server stores objects of some MiB; what never ends its line is none.
LONGEST_LINE: Final = 512 * 1024 * 1024


class LineSplitter:
    """Splits at ``\\n``.

    :param longest: bytes of the longest line that is accepted
    """

    __slots__ = ("_longest", "_parts", "_size")

    def __init__(self, longest: int = LONGEST_LINE) -> None:
        self._longest = longest
        self._parts: list[bytes] = []
        self._size = 0

    @property
    def unfinished(self) -> int:
        """Bytes of the line whose end has not come."""
        return self._size

    @property
    def is_json(self) -> bool:
        """Whether the line whose end has not come may be an event, as far as it has come."""
        return b"".join(self._parts)[:64].lstrip()[:1] in (b"", b"{")

    def feed(self, piece: bytes) -> list[bytes]:
        """The lines that end in ``piece``, without their ends.

        :raises ProtocolViolation: the line that has begun is too long
        """
        lines = piece.split(b"\n")
        rest = lines.pop()
        if lines and self._parts:
            lines[0] = b"".join((*self._parts, lines[0]))
        if lines:
            self._parts, self._size = [], 0
        if rest:
            self._parts.append(rest)
            self._size += len(rest)
        if self._size > self._longest:
            raise ProtocolViolation(f"a line of more than {self._longest} bytes without an end is no watch event")
        return lines
