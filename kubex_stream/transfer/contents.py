"""One file as a stream: what a copy takes from, or gives to, a file object instead of a path."""

from __future__ import annotations

import errno
import hashlib
import io
import tarfile
import time
from collections.abc import Generator
from typing import BinaryIO, Final

from kubex_stream.errors import CopyError
from kubex_stream.transfer.archive import Member
from kubex_stream.transfer.packing import END, RECORD, header, padding
from kubex_stream.transfer.result import Refusals

__all__ = ("ContentPacker", "ContentSink")

_PIECE: Final = 512 * 1024


class ContentPacker:
    """Packs what is in a file object, as one file.  It has what a :class:`~kubex_stream.transfer.packing.Packer` has.

    :raises ValueError: the object cannot tell how much there is, which the archive has to say first
    """

    def __init__(self, source: bytes | BinaryIO, name: str, *, digest: bool) -> None:
        self._file = io.BytesIO(source) if isinstance(source, bytes) else source
        self._name = name
        self._digest = digest
        try:
            self._start = self._file.tell()
            self._size = self._file.seek(0, io.SEEK_END) - self._start
        except (OSError, AttributeError) as error:
            raise ValueError(
                "an upload needs to know how much there is: give bytes, a path, or a file that can seek"
            ) from error
        self.digests: dict[str, bytes] = {}
        self.order: dict[str, int] = {}
        self.keep_order = False
        self.done: set[str] = set()
        self.refusals = Refusals()
        self.files = self.directories = self.links = self.copied = 0
        self.name = name

    def measure(self) -> tuple[int, int]:
        """As :meth:`Packer.measure`."""
        size = len(header(self._info())) + self._size + -self._size % 512 + len(END)
        return self._size, size + -size % RECORD

    def _info(self) -> tarfile.TarInfo:
        info = tarfile.TarInfo(self._name)
        info.size = self._size
        info.mtime = int(time.time())
        return info

    def pieces(self) -> Generator[bytes, None, None]:
        """As :meth:`Packer.pieces`."""
        self.files = self.copied = 0
        self._file.seek(self._start)
        head = header(self._info())
        yield head
        digest = hashlib.sha256()
        while self.copied < self._size:
            piece = self._file.read(min(_PIECE, self._size - self.copied))
            if not piece:
                raise CopyError("the file object holds less than it said")
            digest.update(piece)
            self.copied += len(piece)
            yield piece
        self.files = 1
        if self._digest:
            self.digests[self._name] = digest.digest()
        rest = padding(self._size) + END
        yield rest + padding(len(head) + self._size + len(rest), RECORD)


class ContentSink:
    """Takes an archive of one file, and writes what is in it.

    :param target: is written to; to start again after a break it has to be able to seek
    """

    def __init__(self, target: BinaryIO, start: int | None, *, digest: bool) -> None:
        self._target = target
        self._start = start
        self._digest = hashlib.sha256() if digest else None
        self.root_link: str | None = None
        self.refusals = Refusals()
        self.files = self.directories = self.links = self.copied = 0
        self.name = ""
        self.digests: dict[tuple[str, ...], bytes] = {}

    def begin(self, member: Member) -> None:
        """As :class:`~kubex_stream.transfer.archive.Receiver`."""
        self.name = member.name
        if member.kind == "symlink" and not self.files:
            self.root_link = member.link
        elif member.kind != "file" or self.files:
            raise CopyError(
                "a file object takes one file, and this is something else; give a path, or take the archive itself"
            )

    def data(self, piece: memoryview) -> None:
        """Likewise."""
        if self._digest is not None:
            self._digest.update(piece)
        self.copied += len(piece)
        while piece:
            written: int | None = self._target.write(piece)
            if written is None and isinstance(self._target, io.RawIOBase):
                raise BlockingIOError(errno.EAGAIN, "the file object takes nothing at the moment; give one that waits")
            piece = piece[len(piece) if written is None else written :]

    def end(self) -> None:
        """Likewise."""
        if self.root_link is None:
            self.files = 1

    def finish(self) -> None:
        """The file is complete."""
        if self._digest is not None:
            self.digests[()] = self._digest.digest()

    def abandon(self) -> None:
        """Nothing is open."""

    def rewind(self) -> None:
        """Forget what was written.

        :raises CopyError: that is not possible
        """
        if not self.copied:
            return
        if self._start is None:
            raise CopyError("the copy has to start again, and what it has been written to cannot seek")
        self._target.seek(self._start)
        self._target.truncate()
