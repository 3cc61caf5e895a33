"""The way of the input from the receiving loop to a process, and the sizes of its terminal.

Rules of this file:
- The buffer is bounded.  While it is full the receiving loop stands still, as the real server's does.
- Input that a process left unread when it ended is counted: containerd never reports the end of such a process.
- Once a size could not be decoded, nobody takes sizes any more, and the next one blocks the loop.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from typing import Final

from kubex_stream.testing.processes import Process

__all__ = ("ResizeReader", "StdinQueue")

_MAX_SIZE: Final = 0xFFFF


class StdinQueue:
    """Input on its way to a process.

    :param process: where it goes
    :param limit: bytes that are taken although the process does not read
    :param keep_unread: whether what a process refuses stays here, and so blocks; otherwise it is dropped
    """

    def __init__(self, process: Process, *, limit: int, keep_unread: bool) -> None:
        self._process = process
        self._limit = limit
        self._keep_unread = keep_unread
        self._waiting: deque[memoryview] = deque()
        self._size = 0
        self._ended = False
        self._discard = False
        self._changed = asyncio.Event()
        self._space = asyncio.Event()

    @property
    def unread(self) -> int:
        """Bytes that the process has not read."""
        return self._size + self._process.unread_stdin()

    async def put(self, data: bytes) -> None:
        """Take ``data``; come back when there is room for more."""
        if self._ended or self._discard:
            return
        self._waiting.append(memoryview(data))
        self._size += len(data)
        self._changed.set()
        while self._size > self._limit and not self._discard:
            self._space.clear()
            await self._space.wait()

    def end(self) -> None:
        """No more input."""
        self._ended = True
        self._changed.set()

    def release(self) -> None:
        """Drop what waits, and whatever comes."""
        self._discard = True
        self._waiting.clear()
        self._size = 0
        self._space.set()
        self._changed.set()

    async def pump(self) -> None:
        """Carry the input to the process, until its end."""
        try:
            while True:
                while self._waiting:
                    await self._write_first()
                if self._ended:
                    break
                self._changed.clear()
                await self._changed.wait()
        except BrokenPipeError:
            if not self._keep_unread:
                self.release()
        else:
            self._process.close_stdin()

    async def _write_first(self) -> None:
        first = self._waiting[0]
        count = await self._process.write(first)
        if not self._waiting:  # released meanwhile
            return
        self._size -= count
        if count == len(first):
            self._waiting.popleft()
        else:
            self._waiting[0] = first[count:]
        if self._size <= self._limit:
            self._space.set()


class ResizeReader:
    """Reads terminal sizes out of the resize channel: JSON objects one behind the other, cut anywhere."""

    def __init__(self) -> None:
        self._text = ""
        self.broken = False

    def feed(self, data: bytes) -> list[tuple[int, int]]:
        """The sizes, as width and height, that are complete now.  ``broken`` is set once something is no size."""
        sizes: list[tuple[int, int]] = []
        self._text += data.decode("utf-8", "replace")
        while not self.broken and (text := self._text.lstrip()):
            try:
                value, end = json.JSONDecoder().raw_decode(text)
            except json.JSONDecodeError as error:
                self.broken = not _may_go_on(text, error)
                break
            self._text = text[end:]
            size = _size_of(value)
            if size is None:
                self.broken = True
            else:
                sizes.append(size)
        return sizes


def _may_go_on(text: str, error: json.JSONDecodeError) -> bool:
    """Whether the text is the beginning of an object rather than none at all."""
    return text.startswith("{") and (error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated"))


def _size_of(value: object) -> tuple[int, int] | None:
    if not isinstance(value, dict):
        return None
    found = {"width": 0, "height": 0}
    for key, number in value.items():
        if key.lower() in found:
            if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number <= _MAX_SIZE:
                return None
            found[key.lower()] = number
    return found["width"], found["height"]
