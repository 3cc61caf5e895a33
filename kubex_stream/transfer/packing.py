"""From local files to the pieces of an archive.

Rules of this file:
- GNU's format: long names, long links and large files of it are read by GNU tar and by busybox's small one alike, which skips pax records.
  Names are bytes as the file system has them.
- A header promises a size, and so many bytes follow: of a file that grows meanwhile the first, and one that shrinks ends the copy.
- What cannot be read, or is neither file, directory nor link, is noted, and the rest goes on.
- Directories come twice where modes and times are kept: first so that one can write into them, and when everything is in them as they are.
  Small tars give a directory its time at once, and what is then written into it gives it another.
- It blocks, so it runs in a worker thread; one call at a time.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tarfile
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Final

from kubex_stream.errors import CopyError
from kubex_stream.transfer.result import Refusals

__all__ = ("END", "RECORD", "Entry", "Packer", "header", "padding")

#: So large are the pieces, and so much is gathered where files are small.
PIECE: Final = 512 * 1024
BLOCK: Final = 512
RECORD: Final = 20 * BLOCK
#: Two empty blocks.
END: Final = bytes(2 * BLOCK)
_OPEN: Final = (
    os.O_RDONLY
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_BINARY", 0)
    | getattr(os, "O_CLOEXEC", 0)
)


@dataclass(frozen=True, slots=True)
class Entry:
    """A local file, directory or link, and its name in the archive."""

    path: str
    name: str
    found: os.stat_result

    def info(self) -> tarfile.TarInfo:
        """Its header, without what only a look inside tells."""
        info = tarfile.TarInfo(self.name)
        info.mode = stat.S_IMODE(self.found.st_mode)
        info.mtime = int(self.found.st_mtime)
        info.uid, info.gid = self.found.st_uid, self.found.st_gid
        if os.name == "nt":
            info.mode = 0o755 if stat.S_ISDIR(self.found.st_mode) else 0o644
        return info


def header(info: tarfile.TarInfo) -> bytes:
    """As it stands in the archive."""
    return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")


def padding(size: int, block: int = BLOCK) -> bytes:
    """What fills contents, or an archive, up."""
    return bytes(-size % block)


class Packer:
    """Packs a file or a tree.

    :param source: the local path; where it is a symbolic link, what it leads to is meant
    :param name: what it is called in the archive; for ``contents`` what is put before each name, or nothing
    :param contents: what is in the directory, without the directory itself
    :param preserve: modes and times are to be kept
    :param digest: note the SHA-256 of each file
    """

    def __init__(self, source: str, name: str, *, contents: bool, preserve: bool, digest: bool) -> None:
        self._source = source
        self._preserve = preserve
        self._directories: list[Entry] = []
        self._name = name
        self._contents = contents
        self._digest = digest
        self._first_names: dict[tuple[int, int], str] = {}
        #: Of each file by its name.
        self.digests: dict[str, bytes] = {}
        #: The names of files and links in the order in which they are packed this time, where ``keep_order`` is set.
        self.order: dict[str, int] = {}
        self.keep_order = False
        #: Files that are in the container already and only counted.
        self.done: set[str] = set()
        self._reset()

    def _reset(self) -> None:
        self.refusals = Refusals()
        self.files = self.directories = self.links = self.copied = 0
        self.size = 0  # of the archive so far
        self.name = ""
        self._number = 0
        self._directories.clear()
        self._first_names.clear()
        self.order.clear()

    def entries(self) -> Iterator[Entry]:
        """What there is to pack, directories before what is in them, names in order.

        :raises OSError: the source itself cannot be read
        """
        found = os.stat(self._source)
        top = Entry(self._source, self._name, found)
        if not self._contents:
            yield top
        todo = self._listed(top) if stat.S_ISDIR(found.st_mode) else []
        while todo:
            entry = todo.pop()
            yield entry
            if stat.S_ISDIR(entry.found.st_mode):
                todo += self._listed(entry)

    def _listed(self, directory: Entry) -> list[Entry]:
        try:
            with os.scandir(directory.path) as found:
                names = sorted((each.name for each in found), reverse=True)
        except OSError as error:
            if directory.path == self._source:
                raise
            self.refusals.add(directory.path, error.strerror or str(error))
            return []
        entries = []
        prefix = f"{directory.name}/" if directory.name else ""
        for name in names:
            path = os.path.join(directory.path, name)
            try:
                entries.append(Entry(path, prefix + name, os.lstat(path)))
            except OSError as error:
                self.refusals.add(path, error.strerror or str(error))
        return entries

    def measure(self) -> tuple[int, int]:
        """How many bytes of contents there are, and how large the archive will be, as things are now."""
        self._reset()
        contents = archive = 0
        for entry in self.entries():
            info = self._linked(entry)
            if info is None:
                continue
            size = info.size
            if info.isreg() and entry.name in self.done:
                contents += size
                continue
            archive += len(header(info)) * (2 if info.isdir() and self._preserve else 1) + size + -size % BLOCK
            contents += size
        self._reset()
        archive += len(END)
        return contents, archive + -archive % RECORD

    def pieces(self) -> Generator[bytes, None, None]:
        """The archive.

        :raises OSError: the source itself cannot be read
        :raises CopyError: a file became shorter while it was read
        """
        self._reset()
        gathered = bytearray()
        for piece in self._members():
            self.size += len(piece)
            gathered += piece
            if len(gathered) >= PIECE:
                yield bytes(gathered)
                gathered.clear()
        gathered += END
        self.size += len(END)
        gathered += padding(self.size, RECORD)
        yield bytes(gathered)

    def _members(self) -> Iterator[bytes]:
        for entry in self.entries():
            yield from self._pack(entry)
        for entry in reversed(self._directories):
            info = entry.info()
            info.type = tarfile.DIRTYPE
            yield header(info)

    def _linked(self, entry: Entry) -> tarfile.TarInfo | None:
        """The header of an entry; None where it is not packed."""
        info, mode = entry.info(), entry.found.st_mode
        if stat.S_ISDIR(mode):
            info.type = tarfile.DIRTYPE
        elif stat.S_ISLNK(mode):
            info.type = tarfile.SYMTYPE
            info.linkname = os.readlink(entry.path)
        elif not stat.S_ISREG(mode):
            self.refusals.add(entry.path, "neither file, directory nor link")
            return None
        else:
            key = (entry.found.st_dev, entry.found.st_ino)
            first = self._first_names.setdefault(key, entry.name) if entry.found.st_nlink > 1 else entry.name
            if first == entry.name:
                info.size = entry.found.st_size
            else:
                info.type, info.linkname = tarfile.LNKTYPE, first
        return info

    def _pack(self, entry: Entry) -> Iterator[bytes]:
        try:
            info = self._linked(entry)
        except OSError as error:
            self.refusals.add(entry.path, error.strerror or str(error))
            return
        if info is None:
            return
        self.name = entry.name
        if info.isdir():
            self.directories += 1
            if self._preserve:
                self._directories.append(entry)
                info.mode |= stat.S_IRWXU
            yield header(info)
            return
        self._number += 1
        if self.keep_order:
            self.order[entry.name] = self._number
        if info.isreg() and entry.name in self.done:
            self._count(info, info.size)
        elif info.isreg():
            yield from self._file(entry, info)
        else:
            self._count(info, 0)
            yield header(info)

    def _count(self, info: tarfile.TarInfo, size: int) -> None:
        if info.issym():
            self.links += 1
        else:
            self.files += 1
        self.copied += size

    def _refuse_file(self, entry: Entry, why: str) -> None:
        self._first_names.pop((entry.found.st_dev, entry.found.st_ino), None)  # no link can lead to what is not there
        self.refusals.add(entry.path, why)

    def _file(self, entry: Entry, info: tarfile.TarInfo) -> Iterator[bytes]:
        try:
            descriptor = os.open(
                entry.path, _OPEN if entry.path != self._source else _OPEN & ~getattr(os, "O_NOFOLLOW", 0)
            )
        except OSError as error:
            if entry.path == self._source:
                raise
            self._refuse_file(entry, error.strerror or str(error))
            return
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                self._refuse_file(entry, "neither file, directory nor link")
                return
            info.size = found.st_size
            yield header(info)
            digest = hashlib.sha256() if self._digest else None
            left = info.size
            while left:
                piece = file.read(min(left, PIECE))
                if not piece:
                    raise CopyError(f"{entry.path!a} became shorter while it was read")
                if digest is not None:
                    digest.update(piece)
                left -= len(piece)
                self.copied += len(piece)
                yield piece
            yield padding(info.size)
        self._count(info, 0)
        if digest is not None:
            self.digests[entry.name] = digest.digest()
