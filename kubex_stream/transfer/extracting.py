"""From the entries of an archive to files, directories and links below the target.

Rules of this file:
- What an entry may not do is refused and noted, and the rest goes on: another kind of entry than file, directory and link; a name or a link
  that leads elsewhere; a place that cannot be written.
- A disk that is full or broken ends the copy.
- Modes and times of directories come last, when nothing is written into them any more.
- It blocks, so it runs in a worker thread; one call at a time.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
from typing import Final

from kubex_stream.transfer.archive import Member
from kubex_stream.transfer.names import Unsafe, check_link, member_parts
from kubex_stream.transfer.result import Refusals
from kubex_stream.transfer.tree import Handle, Tree

__all__ = ("Extractor",)

#: These concern one entry; others all that follow.
_ITS_OWN_FAULT: Final = frozenset(
    getattr(errno, name)
    for name in ("ENAMETOOLONG", "EISDIR", "ENOTDIR", "EEXIST", "ENOTEMPTY", "ELOOP", "EINVAL", "EPERM", "EACCES", "ENOENT", "EILSEQ",
                 "ENOTSUP", "EMLINK", "EXDEV", "EBUSY", "ETXTBSY")
    if hasattr(errno, name)
)  # fmt: skip
#: What is kept of a mode: who may read, write and execute, but not as whom.
_MODE: Final = 0o777
_OTHER: Final = "neither file, directory nor link: a device, a FIFO, a sparse file …"
Parts = tuple[str, ...]


class _File:
    """A file that is being written."""

    def __init__(self, directory: Handle, name: str, member: Member, digest: bool) -> None:
        self.directory = directory
        self.name = name
        self.member = member
        self.temporary, self.descriptor = directory.create()
        self.digest = hashlib.sha256() if digest else None

    def write(self, piece: memoryview) -> None:
        if self.digest is not None:
            self.digest.update(piece)
        while piece:
            piece = piece[os.write(self.descriptor, piece) :]

    def complete(self, mode: int | None) -> None:
        # Closed once, whatever comes of it: the number may be another file's a moment later.
        descriptor, self.descriptor = self.descriptor, -1
        try:
            if mode is not None:
                _stamp(descriptor, mode, self.member.mtime)
        finally:
            os.close(descriptor)
        self.directory.place(self.temporary, self.name)

    def discard(self) -> None:
        descriptor, self.descriptor = self.descriptor, -1
        try:
            if descriptor >= 0:
                os.close(descriptor)
        finally:
            self.directory.discard(self.temporary)


def _stamp(descriptor: int, mode: int, mtime: int) -> None:
    if hasattr(os, "fchmod"):
        os.fchmod(descriptor, mode)
    if os.utime in os.supports_fd:
        os.utime(descriptor, ns=(mtime, mtime))


class Extractor:
    """Writes what an archive holds.  It is the reader's receiver.

    :param tree: the directory that the copy goes into
    :param base: the first component that all names have to have; empty for the contents of a directory
    :param top: what it is called here
    :param preserve: keep modes and times
    :param digest: note the SHA-256 of each file
    """

    def __init__(self, tree: Tree, *, base: str, top: str, preserve: bool, digest: bool) -> None:
        self._tree = tree
        self._base = base
        self._top = top
        self._preserve = preserve
        self._digest = digest
        self._file: _File | None = None
        self._umask = _umask()
        self.refusals = Refusals()
        self._directories: dict[Parts, tuple[int, int]] = {}
        #: Where the only entry leads, if it is a symbolic link: what was asked for is something else then.
        self.root_link: str | None = None
        self.files = self.directories = self.links = self.copied = 0
        self.name = ""
        #: SHA-256 of each file by its name in the archive, below the base.
        self.digests: dict[Parts, bytes] = {}

    def begin(self, member: Member) -> None:
        """As :class:`~kubex_stream.transfer.archive.Receiver`."""
        self.name = member.name
        try:
            self._begin(member, self._placed(member.name))
        except Unsafe as error:
            self.refusals.add(member.name, str(error))
        except UnicodeEncodeError:
            self.refusals.add(member.name, "a name that this system's encoding does not have")
        except OSError as error:
            self.abandon()
            self._note(member.name, error)

    def data(self, piece: memoryview) -> None:
        """Likewise."""
        if self._file is not None:
            self._file.write(piece)
            self.copied += len(piece)

    def end(self) -> None:
        """Likewise."""
        file, self._file = self._file, None
        if file is None:
            return
        try:
            file.complete(file.member.mode & _MODE if self._preserve else None)
        except OSError as error:
            file.discard()
            self.copied -= file.member.size
            self._note(file.member.name, error)
            return
        self.files += 1
        if file.digest is not None:
            self.digests[self._below(file.member.name)] = file.digest.digest()

    def finish(self) -> None:
        """All entries have come: give directories their modes and times."""
        for parts, (mode, mtime) in sorted(self._directories.items(), key=lambda item: -len(item[0])):
            with contextlib.suppress(OSError, Unsafe):  # one that is not there any more
                self._tree.at(parts, mode=None).stamp(mode, mtime)
        self._directories.clear()

    def abandon(self) -> None:
        """Remove what is not complete."""
        file, self._file = self._file, None
        if file is not None:
            file.discard()

    def _note(self, name: str, error: OSError) -> None:
        if error.errno not in _ITS_OWN_FAULT:
            raise error
        self.refusals.add(name, error.strerror or str(error))

    def _below(self, name: str) -> Parts:
        parts = member_parts(name)
        if not self._base:
            return parts
        if not parts or parts[0] != self._base:
            raise Unsafe("not below what was asked for")
        return parts[1:]

    def _placed(self, name: str) -> Parts:
        below = self._below(name)
        return (self._top, *below) if self._base else below

    def _begin(self, member: Member, parts: Parts) -> None:
        if not parts:
            if member.kind != "directory":
                raise Unsafe("it has no name")
            return  # the target itself stays as it is
        if member.kind == "file":
            directory = self._tree.at(parts[:-1])
            self._file = _File(directory, parts[-1], member, self._digest)
            if not self._preserve:
                self._relax(self._file.descriptor)
        elif member.kind == "directory":
            self._directory(member, parts)
        elif member.kind == "symlink":
            self._symlink(member, parts)
        elif member.kind == "hardlink":
            self._tree.link(parts, self._placed(member.link))
            self.files += 1
        else:
            raise Unsafe(_OTHER)

    def _relax(self, descriptor: int) -> None:
        if hasattr(os, "fchmod"):
            os.fchmod(descriptor, 0o666 & ~self._umask)

    def _directory(self, member: Member, parts: Parts) -> None:
        mode = member.mode & _MODE
        self._tree.at(parts, last_mode=mode | stat.S_IRWXU if self._preserve else None)
        if self._preserve:
            self._directories[parts] = (mode, member.mtime)
        self.directories += 1

    def _symlink(self, member: Member, parts: Parts) -> None:
        if self._base and len(parts) == 1:
            self.root_link = member.link
            return
        check_link(member.link, len(parts) - (2 if self._base else 1))
        directory = self._tree.at(parts[:-1])
        directory.symlink(member.link, parts[-1])
        if self._preserve:
            directory.stamp_link(parts[-1], member.mtime)
        self.links += 1


def _umask() -> int:
    """This process's; there is no way to look at it without setting it, but for Linux's."""
    with (
        contextlib.suppress(OSError, ValueError, StopIteration),
        open("/proc/self/status", encoding="ascii", errors="replace") as status,
    ):
        return int(next(line for line in status if line.startswith("Umask:")).split()[1], 8)
    return 0o022
