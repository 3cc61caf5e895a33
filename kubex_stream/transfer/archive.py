"""Reading a tar archive from pieces, as they come.

Rules of this file:
- No input, no output, no waiting: bytes are fed, and a receiver is told what they mean.
- Nothing that the archive says is believed about memory: headers are bounded, contents are passed on as they come.
- The headers are decoded by :mod:`tarfile`; the extensions (long names of GNU, records of pax) are read here, since there they are read
  whole, however large they claim to be.
- Where an archive was cut it can be read on: ``position`` bytes of it have been taken, and ``anchor`` is the last header that was complete.
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, DecimalException
from typing import Final, Literal, Protocol

from kubex_stream.errors import CopyError

__all__ = ("Anchor", "ArchiveReader", "Member", "Receiver")

BLOCK: Final = 512
#: Of the extensions in front of one entry.
_LARGEST_EXTENSION: Final = 1024 * 1024
#: Seconds; what lies beyond, the year 1697 or 10680, no system can set.  And digits of a number, which cost more than their length.
_EARLIEST: Final = -(2**33)
_LATEST: Final = 2**38
_MOST_DIGITS: Final = 64
_EMPTY: Final = memoryview(b"")

Kind = Literal["file", "directory", "symlink", "hardlink", "other"]


@dataclass(frozen=True, slots=True)
class Member:
    """An entry of an archive.

    :ivar size: bytes of contents that follow
    :ivar mtime: nanoseconds
    :ivar link: where a link leads
    """

    name: str
    kind: Kind
    size: int
    mode: int
    mtime: int
    link: str = ""


@dataclass(frozen=True, slots=True)
class Anchor:
    """The header of an entry: where in the archive it starts, and its bytes."""

    offset: int
    header: bytes


class Receiver(Protocol):
    """What is told of an archive."""

    def begin(self, member: Member, /) -> None:
        """An entry begins."""

    def data(self, piece: memoryview, /) -> None:
        """Some of its contents."""

    def end(self) -> None:
        """It is complete."""


def _damaged(why: str) -> CopyError:
    return CopyError(f"what came from the container is no tar archive, or a damaged one: {why}")


class ArchiveReader:
    """Takes an archive in pieces of any size."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._take: Callable[[memoryview], memoryview] = self._take_header
        self._block = bytearray()
        self._left = 0  # bytes of contents or of an extension
        self._padding = 0
        self._raw = bytearray()  # headers and extensions of the entry that comes next
        self._start = 0
        self._extension = b""
        self._extended: dict[str, str] = {}
        self._zeros = 0
        #: Bytes that were taken.
        self.position = 0
        #: The last header that was complete; None before the first.
        self.anchor: Anchor | None = None

    @property
    def ended(self) -> bool:
        """Whether the archive's end has come."""
        return self._zeros == 2

    def feed(self, data: bytes) -> None:
        """Take the next bytes.

        :raises CopyError: they make no archive
        """
        view = memoryview(data)
        while view:
            rest = self._take(view)
            self.position += len(view) - len(rest)
            view = rest

    def finish(self) -> None:
        """There is no more.

        :raises CopyError: there should be
        """
        if not self.ended:
            raise CopyError(f"the archive that came from the container ends in the middle, after {self.position} bytes")

    # Each takes what it can use of a piece, and gives the rest.

    def _take_header(self, view: memoryview) -> memoryview:
        if not self._raw and not self._block:
            self._start = self.position
        missing = BLOCK - len(self._block)
        self._block += view[:missing]
        if len(self._block) == BLOCK:
            block, self._block = bytes(self._block), bytearray()
            self._header(block)
        return view[missing:]

    def _take_contents(self, view: memoryview) -> memoryview:
        piece = view[: self._left]
        self._left -= len(piece)
        self._receiver.data(piece)
        if not self._left:
            self._end_of_contents()
        return view[len(piece) :]

    def _take_padding(self, view: memoryview) -> memoryview:
        taken = min(self._padding, len(view))
        self._padding -= taken
        if not self._padding:
            self._take = self._take_header
        return view[taken:]

    def _take_extension(self, view: memoryview) -> memoryview:
        piece = view[: self._left]
        self._raw += piece
        self._left -= len(piece)
        if not self._left:
            self._take = self._take_header
            self._extend()
        return view[len(piece) :]

    def _take_rest(self, view: memoryview) -> memoryview:  # noqa: ARG002  # the filling of tar's last record
        return _EMPTY

    def _header(self, block: bytes) -> None:
        if not any(block):
            self._zeros += 1
            if self.ended:
                self._take = self._take_rest
            return
        if self._zeros:
            raise _damaged("something follows its end")
        try:
            info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except (tarfile.HeaderError, ValueError) as error:
            raise _damaged(str(error)) from error
        self._raw += block
        if info.size < 0:
            raise _damaged("an entry of negative size")
        if info.type in (
            tarfile.GNUTYPE_LONGNAME,
            tarfile.GNUTYPE_LONGLINK,
            tarfile.XHDTYPE,
            tarfile.XGLTYPE,
            tarfile.SOLARIS_XHDTYPE,
        ):
            self._begin_extension(info)
        else:
            self._begin(info)

    # Extensions

    def _begin_extension(self, info: tarfile.TarInfo) -> None:
        self._extension = info.type
        self._size = info.size
        self._left = -(-info.size // BLOCK) * BLOCK
        if len(self._raw) + self._left > _LARGEST_EXTENSION:
            raise _damaged("a name or a header of more than a mebibyte")
        if self._left:
            self._take = self._take_extension

    def _extend(self) -> None:
        padded = -(-self._size // BLOCK) * BLOCK
        value = bytes(self._raw[len(self._raw) - padded :][: self._size])
        if self._extension == tarfile.GNUTYPE_LONGNAME:
            self._extended["path"] = _text(value.partition(b"\0")[0])
        elif self._extension == tarfile.GNUTYPE_LONGLINK:
            self._extended["linkpath"] = _text(value.partition(b"\0")[0])
        elif self._extension != tarfile.XGLTYPE:  # what is said of all entries is of no interest here
            self._extended.update(_records(value))

    # Entries

    def _begin(self, info: tarfile.TarInfo) -> None:
        member = _member(info, self._extended)
        self._extended = {}
        self.anchor = Anchor(self._start, bytes(self._raw))
        self._raw.clear()
        self._left = member.size
        self._padding = -member.size % BLOCK
        self._receiver.begin(member)
        if member.size:
            self._take = self._take_contents
        else:
            self._end_of_contents()

    def _end_of_contents(self) -> None:
        self._take = self._take_padding if self._padding else self._take_header
        self._receiver.end()


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _records(raw: bytes) -> dict[str, str]:
    """The records of a pax header: ``LENGTH KEY=VALUE\\n``, the length counting itself."""
    records = {}
    start = 0
    while start < len(raw):
        digits = raw[start : start + 8].partition(b" ")[0]
        end = start + (int(digits) if digits.isdigit() and len(digits) < 8 else 0)
        key, equals, value = raw[start + len(digits) + 1 : end].partition(b"=")
        if not equals or end > len(raw) or value[-1:] != b"\n":
            raise _damaged("a pax header that cannot be read")
        records[_text(key)] = _text(value[:-1])
        start = end
    return records


def _nanoseconds(seconds: Decimal) -> int:
    """As far as a system can set them.

    :raises ValueError: it is no number
    """
    if not seconds.is_finite():
        raise ValueError("no number")
    return int(min(max(seconds, Decimal(_EARLIEST)), Decimal(_LATEST)) * 10**9)


def _number(text: str) -> str:
    if len(text) > _MOST_DIGITS:
        raise ValueError("too many digits")
    return text


def _member(info: tarfile.TarInfo, extended: dict[str, str]) -> Member:
    sparse = any(key.startswith("GNU.sparse.") for key in extended)
    kind: Kind = "other"
    if info.isreg() and not sparse and info.type != tarfile.GNUTYPE_SPARSE:
        kind = "file"
    elif info.isdir():
        kind = "directory"
    elif info.issym():
        kind = "symlink"
    elif info.islnk():
        kind = "hardlink"
    size = info.size
    try:
        if "size" in extended:
            size = int(_number(extended["size"]))
        mtime = _nanoseconds(Decimal(_number(extended["mtime"])) if "mtime" in extended else Decimal(int(info.mtime)))
    except (ValueError, DecimalException) as error:
        raise _damaged("a pax header with numbers that are none") from error
    if size < 0:
        raise _damaged("an entry of negative size")
    name = extended.get("path", info.name)
    if info.type in tarfile.SUPPORTED_TYPES and not info.isreg():
        size = 0  # whatever the header says, nothing follows a directory or a link
    return Member(name, kind, size, info.mode, mtime, extended.get("linkpath", info.linkname))
