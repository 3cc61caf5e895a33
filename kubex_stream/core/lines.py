"""From pieces of bytes to lines.

The pieces of an unfinished line are kept as they are and joined once, when its end has come: the cost is linear, whatever the sizes of
lines and pieces.
"""

from __future__ import annotations

__all__ = ("LineSplitter",)


class LineSplitter:
    """Splits at ``\\n``; a line has no limit but memory's."""

    __slots__ = ("_parts", "_size")

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    @property
    def unfinished(self) -> int:
        """Bytes of the line whose end has not come."""
        return self._size

    def feed(self, piece: bytes) -> list[bytes]:
        """The lines that end in ``piece``, without their ends."""
        lines = piece.split(b"\n")
        rest = lines.pop()
        if lines and self._parts:
            lines[0] = b"".join((*self._parts, lines[0]))
        if lines:
            self._parts, self._size = [], 0
        if rest:
            self._parts.append(rest)
            self._size += len(rest)
        return lines

    def rest(self) -> bytes:
        """What has come of a line whose end has not; it is forgotten."""
        rest = b"".join(self._parts)
        self._parts, self._size = [], 0
        return rest
