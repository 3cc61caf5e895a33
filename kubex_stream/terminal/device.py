"""What an application names when it says which terminal it means."""

from __future__ import annotations

import os
from dataclasses import dataclass

__all__ = ("Terminal",)


@dataclass(frozen=True, slots=True)
class Terminal:
    """A pair of file descriptors that somebody types into and looks at.  They stay their owner's: nothing here closes them.

    Any kinds will do: a terminal, a pseudo-terminal of the application's own, pipes, sockets, files.  Only a terminal has a raw mode.

    :ivar input: where the keys come from; stdin of this process unless given
    :ivar output: where the screen is; stdout of this process unless given
    :raises TypeError: not an integer; a file has ``fileno()``
    :raises ValueError: negative
    """

    input: int = 0
    output: int = 1

    def __post_init__(self) -> None:
        given: tuple[tuple[str, object], ...] = (("input", self.input), ("output", self.output))
        for name, descriptor in given:
            if not isinstance(descriptor, int) or isinstance(descriptor, bool):
                raise TypeError(f"{name} is a file descriptor, as sys.stdin.fileno(), not {type(descriptor).__name__}")
            if descriptor < 0:
                raise ValueError(f"{name} is a file descriptor, not {descriptor}")

    @property
    def is_terminal(self) -> bool:
        """Whether keys come from a terminal, so that there is a mode to set and to restore."""
        return os.isatty(self.input)

    @property
    def size(self) -> tuple[int, int] | None:
        """Columns and rows, now: of the output, or of the input where the output is no terminal; None where neither knows."""
        for descriptor in (self.output, self.input):
            try:
                columns, rows = os.get_terminal_size(descriptor)
            except OSError:
                continue
            if columns > 0 and rows > 0:
                return columns, rows
        return None

    def check_open(self) -> None:
        """Refuse a descriptor that is not open.

        :raises ValueError: one is not; the text says which
        """
        for name, descriptor in (("input", self.input), ("output", self.output)):
            try:
                os.fstat(descriptor)
            except OSError:
                raise ValueError(f"the terminal's {name}, file descriptor {descriptor}, is not open") from None
