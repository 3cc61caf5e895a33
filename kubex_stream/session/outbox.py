"""Frames that nobody waits for, until the next sending takes them along."""

from __future__ import annotations

import anyio

__all__ = ("Outbox",)


class Outbox:
    """Small frames, in order."""

    def __init__(self) -> None:
        self._frames = bytearray()
        self._filled = anyio.Event()

    def put(self, frame: bytes) -> None:
        """Add a frame to the end; an empty one is none."""
        if frame:
            self._frames += frame
            self._filled.set()

    def take(self) -> bytes:
        """All of them, once."""
        frames = bytes(self._frames)
        self._frames.clear()
        return frames

    async def filled(self) -> None:
        """Wait until something is inside."""
        while not self._frames:
            self._filled = anyio.Event()
            await self._filled.wait()
