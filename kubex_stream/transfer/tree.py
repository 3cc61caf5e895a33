"""Writing below a directory, and nowhere else.

Rules of this file:
- Every step from the top to a file is taken on an open directory (``openat``), never through a symbolic link, whoever made it and when:
  one that was there before, one that came earlier in the same copy, one that another process puts there meanwhile.
- A file is written under a name of its own, newly made, and then takes its place by a rename.  So nothing is written through a link or
  into a file that has another name elsewhere, and no file is ever seen half.
- Directories are never replaced.
- Where the system has no ``openat`` (Windows) the same steps are taken on paths, each looked at before.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
import sys
from collections.abc import Callable
from typing import Final

from kubex_stream.transfer.names import Unsafe

__all__ = ("Directory", "Handle", "PathDirectory", "Tree", "open_directory")

_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
_DIRECTORY: Final = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0)
_NOFOLLOW: Final = getattr(os, "O_NOFOLLOW", 0)
#: What systems say of a symbolic link, or of a file, where a directory has to be.
_NO_DIRECTORY: Final = (
    errno.ENOTDIR,
    errno.ELOOP,
    getattr(errno, "EMLINK", errno.ELOOP),
    getattr(errno, "EFTYPE", errno.ELOOP),
)
_IN_THE_WAY: Final = "something that is no directory, as a symbolic link, is in the way"


def _temporary() -> str:
    return f".kubex-stream-{secrets.token_hex(6)}"


class Directory:
    """An open directory.

    :param descriptor: is closed with it
    """

    def __init__(self, descriptor: int) -> None:
        self._fd = descriptor

    def close(self) -> None:
        """Let go of it."""
        os.close(self._fd)

    def enter(self, name: str, mode: int | None) -> Directory:
        """A directory in this one.

        :param mode: made with it where there is none; None: it has to be there
        :raises Unsafe: something else is there
        """
        if mode is not None:
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, mode, dir_fd=self._fd)
        try:
            return Directory(os.open(name, _DIRECTORY | _NOFOLLOW, dir_fd=self._fd))
        except OSError as error:
            if error.errno in _NO_DIRECTORY:
                raise Unsafe(_IN_THE_WAY) from error
            raise

    def create(self) -> tuple[str, int]:
        """A new file under a name of its own: the name, and a descriptor to write to."""
        name = _temporary()
        return name, os.open(name, _FILE, 0o600, dir_fd=self._fd)

    def place(self, temporary: str, name: str) -> None:
        """Give what :meth:`create` made its name, in place of whatever has it now."""
        os.rename(temporary, name, src_dir_fd=self._fd, dst_dir_fd=self._fd)

    def discard(self, name: str) -> None:
        """Remove what :meth:`create` made, if it is still there."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self._fd)

    def symlink(self, target: str, name: str) -> None:
        """A symbolic link, in place of whatever has the name."""
        temporary = _temporary()
        os.symlink(target, temporary, dir_fd=self._fd)
        self._put(temporary, name)

    def hardlink(self, source: Directory, existing: str, name: str) -> None:
        """Another name for a file in ``source``, in place of whatever has the name."""
        if not stat.S_ISREG(os.lstat(existing, dir_fd=source._fd).st_mode):
            raise Unsafe("a hard link to something that is no file")
        temporary = _temporary()
        os.link(existing, temporary, src_dir_fd=source._fd, dst_dir_fd=self._fd, follow_symlinks=False)
        self._put(temporary, name)

    def _put(self, temporary: str, name: str) -> None:
        try:
            self.place(temporary, name)
        finally:
            self.discard(temporary)  # also where both were names of one file: then the rename has done nothing

    def stamp(self, mode: int, mtime: int) -> None:
        """Set this directory's own mode and time."""
        os.fchmod(self._fd, mode)
        os.utime(self._fd, ns=(mtime, mtime))

    def stamp_link(self, name: str, mtime: int) -> None:
        """Set a symbolic link's own time, where there is such a thing."""
        if os.utime in os.supports_follow_symlinks:
            os.utime(name, ns=(mtime, mtime), dir_fd=self._fd, follow_symlinks=False)


class PathDirectory:
    """The same on paths, for systems without ``openat``."""

    def __init__(self, path: str) -> None:
        self._path = path

    def _at(self, name: str) -> str:
        return os.path.join(self._path, name)

    def close(self) -> None:
        """Nothing is open."""

    def enter(self, name: str, mode: int | None) -> PathDirectory:
        """As :meth:`Directory.enter`."""
        path = self._at(name)
        if mode is not None:
            with contextlib.suppress(FileExistsError):
                os.mkdir(path, mode)
        if not _is_plain_directory(path):
            raise Unsafe(_IN_THE_WAY)
        return PathDirectory(path)

    def create(self) -> tuple[str, int]:
        """As :meth:`Directory.create`."""
        name = _temporary()
        return name, os.open(self._at(name), _FILE, 0o600)

    def place(self, temporary: str, name: str) -> None:
        """As :meth:`Directory.place`."""
        os.replace(self._at(temporary), self._at(name))

    def discard(self, name: str) -> None:
        """As :meth:`Directory.discard`."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._at(name))

    def symlink(self, target: str, name: str) -> None:
        """As :meth:`Directory.symlink`."""
        temporary = _temporary()
        os.symlink(target, self._at(temporary))
        self._put(temporary, name)

    def hardlink(self, source: PathDirectory, existing: str, name: str) -> None:
        """As :meth:`Directory.hardlink`."""
        if not stat.S_ISREG(os.lstat(source._at(existing)).st_mode):
            raise Unsafe("a hard link to something that is no file")
        temporary = _temporary()
        os.link(source._at(existing), self._at(temporary), follow_symlinks=False)
        self._put(temporary, name)

    def _put(self, temporary: str, name: str) -> None:
        try:
            self.place(temporary, name)
        finally:
            self.discard(temporary)

    def stamp(self, mode: int, mtime: int) -> None:
        """As :meth:`Directory.stamp`."""
        os.chmod(self._path, mode)
        os.utime(self._path, ns=(mtime, mtime))

    def stamp_link(self, name: str, mtime: int) -> None:
        """As :meth:`Directory.stamp_link`."""
        if os.utime in os.supports_follow_symlinks:
            os.utime(self._at(name), ns=(mtime, mtime), follow_symlinks=False)


def _is_plain_directory(path: str) -> bool:
    found = os.lstat(path)
    # A junction of Windows says it is a directory.
    reparse = sys.platform == "win32" and bool(found.st_file_attributes & stat.FILE_ATTRIBUTE_REPARSE_POINT)
    return stat.S_ISDIR(found.st_mode) and not reparse


Handle = Directory | PathDirectory


def open_directory(path: str) -> Handle:
    """The directory that the user names, symbolic links in its path followed: they are the user's own word."""
    if os.open in os.supports_dir_fd and os.rename in os.supports_dir_fd and _NOFOLLOW:
        return Directory(os.open(path, _DIRECTORY))
    return PathDirectory(os.path.realpath(path, strict=True))


class Tree:
    """A directory and those below it; it keeps the way to the last one open, since the next is mostly near.

    :param opened: gives the top
    """

    def __init__(self, path: str, opened: Callable[[str], Handle] = open_directory) -> None:
        self._top = opened(path)
        self._way: list[tuple[str, Handle]] = []

    def at(self, parts: tuple[str, ...], *, mode: int | None = 0o777, last_mode: int | None = None) -> Handle:
        """The directory of this path, which stays open until another one is asked for.

        :param mode: of directories that are made on the way; None makes none
        :param last_mode: of the last one, where it differs
        :raises Unsafe: the path leads through something that is no directory
        """
        common = 0
        while common < min(len(parts), len(self._way)) and self._way[common][0] == parts[common]:
            common += 1
        while len(self._way) > common:
            self._way.pop()[1].close()
        for number in range(common, len(parts)):
            last = number == len(parts) - 1 and last_mode is not None
            here = self._way[-1][1] if self._way else self._top
            self._way.append((parts[number], here.enter(parts[number], last_mode if last else mode)))
        return self._way[-1][1] if self._way else self._top

    def link(self, parts: tuple[str, ...], existing: tuple[str, ...]) -> None:
        """Another name, ``parts``, for a file that is there, ``existing``.

        :raises Unsafe: it is no file, or not below the top
        """
        if not existing:
            raise Unsafe("a hard link to something that is no file")
        own = self.at(parts[:-1])
        handle, opened = self._top, list[Handle]()
        try:
            for part in existing[:-1]:
                handle = handle.enter(part, None)
                opened.append(handle)
            own.hardlink(handle, existing[-1], parts[-1])  # type: ignore[arg-type]  # both are of the kind of the top
        finally:
            for each in reversed(opened):
                each.close()

    def close(self) -> None:
        """Let go of all directories."""
        while self._way:
            self._way.pop()[1].close()
        self._top.close()
