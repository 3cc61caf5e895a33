"""The lines of a watch: each is one object, and nothing limits an object to the size of a read."""

from __future__ import annotations

from typing import Final

from kubex_stream.core import lines
from kubex_stream.errors import ProtocolViolation

__all__ = ("LONGEST_LINE", "LineSplitter")

#: Bytes.  An API server stores objects of some MiB; what never ends its line is none.
LONGEST_LINE: Final = 512 * 1024 * 1024


class LineSplitter(lines.LineSplitter):
    """Splits at ``\\n``.

    :param longest: bytes of the longest line that is accepted
    """

    __slots__ = ("_longest",)

    def __init__(self, longest: int = LONGEST_LINE) -> None:
        super().__init__()
        self._longest = longest

    @property
    def is_json(self) -> bool:
        """Whether the line whose end has not come may be an event, as far as it has come."""
        return b"".join(self._parts)[:64].lstrip()[:1] in (b"", b"{")

    def feed(self, piece: bytes) -> list[bytes]:
        """The lines that end in ``piece``, without their ends.

        :raises ProtocolViolation: the line that has begun is too long
        """
        found = super().feed(piece)
        if self.unfinished > self._longest:
            raise ProtocolViolation(f"a line of more than {self._longest} bytes without an end is no watch event")
        return found
