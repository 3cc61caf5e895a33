"""What lines are made into for whoever reads them: bytes or text, with or without their times, single or as they come."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from kubex_stream.logs.line import LogLine, LogSource
from kubex_stream.logs.lines import split_stamp

__all__ = ("Limit", "RawShaper", "Shape", "Shaper", "line_shaper")

#: Makes items of lines that still have their times.
Shaper = Callable[[LogSource, Sequence[bytes], bool], Iterator[Any]]
_LENGTH: Final = 30  # of a time in UTC with nanoseconds, which is what nearly every node writes


@dataclass(frozen=True, slots=True)
class Shape:
    """What is wanted.

    :ivar lines: lines, not bytes as they come
    :ivar timestamps: with their times before them
    :ivar encoding: for text; None for bytes
    :ivar errors: what to do with bytes that are no text, as :meth:`bytes.decode` has it
    :raises LookupError: there is no such encoding or error handler
    :raises ValueError: an encoding whose line ends are not those of logs
    """

    lines: bool
    timestamps: bool
    encoding: str | None
    errors: str

    def __post_init__(self) -> None:
        if self.encoding is None:
            return
        codecs.lookup_error(self.errors)
        if "\n".encode(self.encoding) != b"\n":
            raise ValueError(
                f"a log is lines that end in one byte, and {self.encoding} has no such; read bytes, and decode them"
            )

    def visible(self, line: bytes) -> bytes:
        """A line without what was not asked for."""
        return line if self.timestamps else split_stamp(line)[1]


def line_shaper(shape: Shape) -> Shaper:
    """Makes a :class:`LogLine` of each line."""

    keep, encoding, errors = shape.timestamps, shape.encoding, shape.errors

    def shaped(source: LogSource, lines: Sequence[bytes], whole: bool) -> Iterator[LogLine[Any]]:
        def made(line: bytes, complete: bool = True) -> LogLine[Any]:
            if (
                line.find(b" ", 0, _LENGTH + 1) == _LENGTH
                and line[10:11] == b"T"
                and line[_LENGTH - 1 : _LENGTH] == b"Z"
            ):
                stamp, data = line[:_LENGTH], line[_LENGTH + 1 :]
            else:
                stamp, data = split_stamp(line)
            if keep:
                data = line
            return LogLine(
                data if encoding is None else _decoded(data, encoding, errors, source), source, stamp, complete
            )

        # A map that raises is not ended by that, as a generator would be.
        return map(made, lines) if whole else map(made, lines, [*[True] * (len(lines) - 1), False])

    return shaped


class RawShaper:
    """Makes bytes or text of what comes, for one source.

    :param stamped: whether it comes as lines with their times, to be put together again
    """

    def __init__(self, shape: Shape, *, stamped: bool) -> None:
        self._shape = shape
        self._stamped = stamped
        self._decoder = (
            codecs.getincrementaldecoder(shape.encoding)(shape.errors) if shape.encoding is not None else None
        )

    def __call__(self, source: LogSource, lines: Sequence[bytes], whole: bool) -> Iterator[Any]:
        """What there is of these lines."""
        visible = map(self._shape.visible, lines) if self._stamped else lines
        data = b"\n".join(visible) + (b"\n" if whole else b"")
        if self._decoder is None:
            yield data
        elif text := self._text(source, data, final=False):
            yield text

    def rest(self, source: LogSource) -> Iterator[Any]:
        """What there is at the end: of a character that has not come whole."""
        if self._decoder is not None and (text := self._text(source, b"", final=True)):
            yield text

    def _text(self, source: LogSource, data: bytes, *, final: bool) -> str:
        assert self._decoder is not None
        try:
            return self._decoder.decode(data, final)
        except UnicodeDecodeError as error:
            self._decoder.reset()
            raise _explained(error, source) from None


def _decoded(data: bytes, encoding: str, errors: str, source: LogSource) -> str:
    try:
        return data.decode(encoding, errors)
    except UnicodeDecodeError as error:
        raise _explained(error, source) from None


def _explained(error: UnicodeDecodeError, source: LogSource) -> UnicodeDecodeError:
    reason = f"{error.reason}; the log of {source} is not all {error.encoding}: errors='replace' reads it all the same"
    return UnicodeDecodeError(error.encoding, error.object, error.start, error.end, reason)


class Limit:
    """Lets so many bytes of each source pass.

    :param size: bytes of what whoever reads will see, line ends included
    :param shape: what of a line that is; None where it is not lines that come, but bytes
    """

    def __init__(self, size: int, shape: Shape | None) -> None:
        self._size = size
        self._shape = shape
        self._left: dict[LogSource, int] = {}

    def cut(self, source: LogSource, lines: list[bytes]) -> tuple[list[bytes], bool, bool]:
        """The lines that pass; whether the last of them was cut, and whether nothing more will pass."""
        left, passed = self._left.get(source, self._size), list[bytes]()
        for line in lines:
            size = len(line if self._shape is None else self._shape.visible(line))
            if size >= left:
                passed.append(line[: len(line) - (size - left)])
                self._left[source] = 0
                return passed, True, True
            passed.append(line)
            left -= size + (self._shape is not None)
            if not left:
                self._left[source] = 0
                return passed, False, True
        self._left[source] = left
        return passed, False, False
