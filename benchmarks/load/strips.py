"""Items of one size in chunks of their own, as API servers send the lines of logs that are followed, and the events of watches.

An item is told from the one before by digits: times, or resource versions.  They are set for a whole strip at once, at the same place of every
item, which costs next to nothing; so what was built before can be sent again, and is new.
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.load.wire import Block

__all__ = ("Strip", "chunk")

#: Bytes of an API server's TLS records, where it writes something larger.
_RECORD = 4096


def chunk(item: bytes) -> bytes:
    """An item, framed as HTTP's chunked encoding has it."""
    return f"{len(item):x}\r\n".encode() + item + b"\r\n"


class Strip:
    """Chunks of one size, to be sent again and again.

    :param items: of one size
    """

    def __init__(self, items: Sequence[bytes]) -> None:
        self.count = len(items)
        self._size = len(items[0])
        self._data = bytearray().join(map(chunk, items))
        self._stride = len(self._data) // self.count
        self._head = len(f"{self._size:x}\r\n")
        self._view = memoryview(self._data)
        self._records = [self._item(index) for index in range(self.count)]

    def _item(self, index: int) -> list[memoryview]:
        """The records of an item: it is flushed, so no record holds two."""
        start, end = index * self._stride, (index + 1) * self._stride
        return [self._view[at : min(at + _RECORD, end)] for at in range(start, end, _RECORD)]

    def put(self, place: int, text: bytes) -> None:
        """Write ``text`` into every item, at that place of it."""
        for at, byte in enumerate(text, self._head + place):
            self._data[at :: self._stride] = bytes((byte,)) * self.count

    def block(self, count: int) -> Block:
        """The first ``count`` items as they are now; only until :meth:`put` is called."""
        records = tuple(record for item in self._records[:count] for record in item)
        return Block(self._view[: count * self._stride], records, count * self._size)
