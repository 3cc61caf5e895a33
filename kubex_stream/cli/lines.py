"""Lines that are told while something else goes on."""

from __future__ import annotations

from contextlib import suppress
from typing import Final

import anyio

from kubex_stream.cli.local import PATIENCE, LocalOutput

__all__ = ("Lines",)

#: Lines that wait for a reader who does not read.  More are not kept: nothing else is to wait for him, and memory is not his.
_MOST: Final = 1000


class Lines:
    """Lines on stdout or stderr, each written at once; whoever tells one never waits, nor learns whether anybody reads it.

    :param descriptor: 1 or 2
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._given, self._taken = anyio.create_memory_object_stream[str](_MOST)

    def say(self, line: str) -> None:
        """Tell one line."""
        with suppress(anyio.WouldBlock, anyio.BrokenResourceError):
            self._given.send_nowait(line)

    def close(self) -> None:
        """Tell no more."""
        self._given.close()

    async def write(self) -> None:
        """Write what is told, until cancelled, with what has been told before, or until nobody reads it any more."""
        with self._taken, suppress(OSError):
            async with LocalOutput(self._descriptor) as output:
                try:
                    async for line in self._taken:
                        await output.send(f"{line}\n".encode())
                except anyio.get_cancelled_exc_class():
                    with anyio.move_on_after(PATIENCE, shield=True):
                        await output.send(self._rest())
                    raise

    def _rest(self) -> bytes:
        lines = []
        with suppress(anyio.WouldBlock, anyio.EndOfStream):
            while True:
                lines.append(f"{self._taken.receive_nowait()}\n")
        return "".join(lines).encode()
