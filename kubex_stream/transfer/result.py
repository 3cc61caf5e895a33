"""What a copy has done, and what it says while it does it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

__all__ = ("CopyProgress", "CopyResult", "OnProgress", "Refusals", "Refused")

#: So many are kept one by one; an archive may hold millions.
_MOST: Final = 1000
#: Characters that are kept of a name: longer than any that a system has, shorter than what an archive may claim.
_LONGEST: Final = 4096


@dataclass(frozen=True, slots=True)
class Refused:
    """Something that was not copied.

    :ivar name: as the archive has it, or the local path of an upload; bytes that are not UTF-8 are lone surrogates
    :ivar reason: why
    """

    name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name!a}: {self.reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyResult:
    """What was copied.

    :ivar files: regular files, further names of one (hard links) included
    :ivar directories: directories
    :ivar links: symbolic links
    :ivar bytes: of contents
    :ivar refused: what was not copied, and why; of more than 1000 the first ones
    :ivar refused_count: all of them
    :ivar retried: how often the connection broke and the copy went on
    :ivar resumed: how often of these it went on in the middle, instead of from the beginning
    :ivar checked: files whose digests were compared
    """

    files: int = 0
    directories: int = 0
    links: int = 0
    bytes: int = 0
    refused: tuple[Refused, ...] = ()
    refused_count: int = 0
    retried: int = 0
    resumed: int = 0
    checked: int = 0


@dataclass(frozen=True, slots=True)
class CopyProgress:
    """How far a copy is.

    :ivar bytes: of contents, so far
    :ivar total: of contents; None where nobody knows, as for most downloads
    :ivar files: complete ones
    :ivar name: what is being copied
    """

    bytes: int
    total: int | None
    files: int
    name: str


#: Called on the event loop, after each piece of at most a mebibyte; must return at once.
OnProgress = Callable[[CopyProgress], object]


class Refusals:
    """Collects what is not copied."""

    def __init__(self) -> None:
        self.kept: list[Refused] = []
        self.count = 0

    def add(self, name: str, reason: str) -> None:
        """One more."""
        self.count += 1
        if len(self.kept) < _MOST:
            self.kept.append(Refused(name[:_LONGEST], reason))
