"""Running a coroutine from outside, so that cancelling whoever awaits it does not end it.

httpcore reads a body by async generators, and a cancellation in the middle of one finishes it: the rest of the body is gone.  A
:class:`Drive` runs such a generator's next step and gives it the bytes that it asks for by awaiting a :class:`Want`.  It reads them
itself, outside of the generator; a cancellation in that read leaves the generator where it is, asking, and the next await goes on.
"""

from __future__ import annotations

from collections.abc import Coroutine, Generator
from dataclasses import dataclass
from types import coroutine
from typing import Any, Generic, Protocol, TypeVar

import httpcore

__all__ = ("Drive", "Want")

_T = TypeVar("_T")


class _Source(Protocol):
    async def receive(self, max_bytes: int) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Want:
    """Awaited, the bytes that whoever drives has read from ``source``."""

    source: _Source
    max_bytes: int

    def __await__(self) -> Generator[Want, bytes, bytes]:
        return (yield self)


class Drive(Generic[_T]):
    """Awaited, what the coroutine returns or raises.  After a cancellation it may be awaited again while :attr:`asking`."""

    def __init__(self, coroutine: Coroutine[Any, Any, _T]) -> None:
        self._coroutine = coroutine
        self._want: Want | None = None

    @property
    def asking(self) -> bool:
        """Whether the coroutine waits for bytes that nobody reads for it."""
        return self._want is not None

    def __await__(self) -> Generator[Any, Any, _T]:
        result = yield from self._run(reading=True)
        assert result is not None
        return result

    @coroutine
    def arrived(self) -> Generator[Any, Any, _T | None]:
        """Awaited, the same, but None as soon as the coroutine asks for bytes; they are read by whoever awaits the drive itself."""
        return (yield from self._run(reading=False))

    def _run(self, *, reading: bool) -> Generator[Any, Any, _T | None]:
        value: Any = None
        error: BaseException | None = None
        while True:
            if self._want is not None:
                if not reading:
                    return None
                try:
                    value = yield from self._want.source.receive(self._want.max_bytes).__await__()
                except httpcore.ReadError as broken:
                    error = broken
                self._want = None
            try:
                asked = self._coroutine.send(value) if error is None else self._coroutine.throw(error)
            except StopIteration as done:
                result: _T = done.value
                return result
            value = error = None
            if isinstance(asked, Want):
                self._want = asked
                continue
            try:
                value = yield asked
            except BaseException as thrown:  # noqa: BLE001  (it is for the coroutine to answer, cancellation included)
                error = thrown
