"""Detach keys: a sequence that is for this side, found in what is typed.

Rules of this file:
- What may be the beginning of the sequence is held back; once it is not, all of it that cannot be a beginning any more is passed on.
- The sequence itself is never passed on, and nothing behind it is taken.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ("DetachKeys", "parse_keys")

_CONTROL: Final = re.compile(r"ctrl-([a-z@\[\\\]^_])", re.IGNORECASE)
_HOW: Final = "write keys as in 'ctrl-p,ctrl-q': single ASCII characters, or ctrl- and one of a-z @ [ \\ ] ^ _, with commas in between"


def parse_keys(text: object) -> bytes:
    """A key sequence as the bytes that a terminal in raw mode sends for it.

    >>> parse_keys("ctrl-p,ctrl-q"), parse_keys("~,.")
    (b'\\x10\\x11', b'~.')

    :raises TypeError: not a string
    :raises ValueError: not a sequence of keys; the text names the one that is wrong
    """
    if not isinstance(text, str):
        raise TypeError(f"detach_keys is a string, as 'ctrl-p,ctrl-q', not {type(text).__name__}")
    if not text:
        raise ValueError(f"detach_keys is empty; leave it out to have none, or {_HOW}")
    return bytes(_parse_key(text, part) for part in text.split(","))


def _parse_key(text: str, part: str) -> int:
    if (control := _CONTROL.fullmatch(part)) is not None:
        return ord(control[1].upper()) & 0x1F
    if len(part) == 1 and part.isascii() and part.isprintable():
        return ord(part)
    problem = f"{part!r} is not a key" if part else "there is an empty key"
    raise ValueError(f"detach_keys {text!r}: {problem}; {_HOW}")


class DetachKeys:
    """Looks for a sequence in a stream of bytes, however it is cut.

    :param sequence: as :func:`parse_keys` gives it
    """

    def __init__(self, sequence: bytes) -> None:
        self._sequence = sequence
        self._shorter = _borders(sequence)
        self._held = 0
        #: Whether the whole sequence has come.
        self.found = False

    def feed(self, data: bytes) -> bytes:
        """What can be passed on; what comes behind the sequence is dropped."""
        passed = bytearray()
        for byte in data:
            if self.found:
                break
            while self._held and self._sequence[self._held] != byte:
                shorter = self._shorter[self._held]
                passed += self._sequence[: self._held - shorter]
                self._held = shorter
            if self._sequence[self._held] != byte:
                passed.append(byte)
                continue
            self._held += 1
            self.found = self._held == len(self._sequence)
        return bytes(passed)

    def rest(self) -> bytes:
        """What is held back, when nothing more will come."""
        held, self._held = self._sequence[: self._held], 0
        return b"" if self.found else held


def _borders(sequence: bytes) -> list[int]:
    """For each length of a beginning, the longest shorter beginning that it ends with (Knuth, Morris and Pratt's table)."""
    borders = [0, 0]
    for end in range(1, len(sequence)):
        length = borders[end]
        while length and sequence[length] != sequence[end]:
            length = borders[length]
        borders.append(length + (sequence[length] == sequence[end]))
    return borders
