"""Paths in containers, and names in archives.

Rules of this file:
- A name in an archive is somebody else's word.  It becomes a tuple of plain components below the target, or it is refused; nothing here
  ever joins it to a path.
- Bytes that are not UTF-8 are lone surrogates, as the functions of :mod:`os` have them, so every name survives both ways.
"""

from __future__ import annotations

import os
import posixpath
from dataclasses import dataclass
from typing import Final

__all__ = ("RemotePath", "Unsafe", "check_link", "member_parts")

#: Directories in directories; each costs a descriptor while something is written below it.
_DEEPEST: Final = 100
_WINDOWS: Final = os.name == "nt"
_DEVICES: Final = {"con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in range(10))}


class Unsafe(Exception):
    """An entry of an archive that is not written; the text says why."""


@dataclass(frozen=True, slots=True)
class RemotePath:
    """A path in a container, taken apart as tar wants it.

    :ivar directory: where tar goes first
    :ivar base: the name there; empty where the contents of ``directory`` are meant
    :ivar into: it ended with a slash, so it names a directory
    """

    directory: str
    base: str
    into: bool

    @classmethod
    def parse(cls, path: str) -> RemotePath:
        """Take a path apart.  ``..`` is left to the container, whose symbolic links nobody knows here.

        :raises ValueError: it is empty, or cannot be sent
        """
        if not path:
            raise ValueError("the path in the container is empty")
        if "\0" in path or any("\ud800" <= character <= "\udfff" for character in path):
            raise ValueError(
                "the path in the container has characters that cannot be sent: NUL, or bytes that are not UTF-8"
            )
        stripped = path.rstrip("/")
        if not path.startswith("/"):
            stripped = f"./{stripped}"  # nothing here is an option, whatever it begins with
        head, _, base = stripped.rpartition("/")
        if base in ("", ".", ".."):
            return cls(stripped or "/", "", True)
        return cls(head or "/", base, path.endswith("/"))

    @property
    def path(self) -> str:
        """The whole, as a program in the container takes it: never with a dash in front."""
        return posixpath.join(self.directory, self.base) if self.base else self.directory

    @property
    def member(self) -> str:
        """What tar is to pack in the directory."""
        return f"./{self.base}" if self.base else "."


def member_parts(name: str) -> tuple[str, ...]:
    """The components of a name in an archive.

    :raises Unsafe: it leads somewhere else
    """
    if name.startswith("/"):
        raise Unsafe("an absolute path")
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    if ".." in parts:
        raise Unsafe("'..' in its path")
    if len(parts) > _DEEPEST:
        raise Unsafe(f"more than {_DEEPEST} directories deep")
    if any("\0" in part for part in parts):
        raise Unsafe("NUL in its path")
    if _WINDOWS:
        for part in parts:
            _check_windows(part)
    return parts


def _check_windows(part: str) -> None:
    if any(character in '\\:*?"<>|' or character < " " for character in part) or part[-1] in " .":
        raise Unsafe("a name that Windows does not allow")
    if part.partition(".")[0].lower() in _DEVICES:
        raise Unsafe("the name of a device")


def check_link(target: str, depth: int) -> None:
    """Whether a symbolic link stays inside of the tree that is copied.

    Going up is allowed first only, and only as far as the link is deep, which is known for sure since it is reached through directories
    alone.  Then each step goes down, or through a link that is bound by the same rule.  After going down, nobody knows how deep ``..``
    starts.

    :param depth: directories between the top of the tree and the link
    :raises Unsafe: it does not
    """
    if target.startswith("/"):
        raise Unsafe("a symbolic link to an absolute path")
    if "\0" in target:
        raise Unsafe("NUL in what the link leads to")
    parts = [part for part in target.split("/") if part not in ("", ".")]
    ups = 0
    while ups < len(parts) and parts[ups] == "..":
        ups += 1
    if ups > depth:
        raise Unsafe("a symbolic link that leads out of the tree")
    if ".." in parts[ups:]:
        raise Unsafe("a symbolic link that goes down and then up again, so it may lead out of the tree")
    if _WINDOWS:
        for part in parts[ups:]:
            _check_windows(part)
