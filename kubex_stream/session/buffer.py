"""What has been read of one channel and not yet been taken by its consumer.

Memory first, up to the capacity; then, where the session allows it, an unnamed temporary file; order is kept across both.  Writing the
file blocks the event loop for the time of a copy into the page cache: a thread per message would take longer, and could be cancelled
between the socket and the file, where a message has no owner.
"""

from __future__ import annotations

import tempfile
from collections import deque
from typing import IO, Final

__all__ = ("ChannelBuffer",)

_PIECE: Final = 64 * 1024


class ChannelBuffer:
    """The bytes of one output channel between the socket and the consumer.

    :param name: for messages, as ``stdout``
    :param capacity: bytes of memory after which it is full; one message more may be inside
    """

    __slots__ = ("_capacity", "_file", "_memory", "_read_at", "_written_to", "closed", "name", "size", "touched")

    def __init__(self, name: str, capacity: int) -> None:
        self.name = name
        #: Bytes inside, the file's included.
        self.size = 0
        #: Whether anybody has ever received from it: one that nobody has is being ignored, not slow.
        self.touched = False
        #: Whether its consumer wants no more; what comes is dropped then, on purpose.
        self.closed = False
        self._capacity = capacity
        self._memory: deque[bytes] = deque()
        self._file: IO[bytes] | None = None
        self._read_at = self._written_to = 0

    @property
    def full(self) -> bool:
        """Whether to wait for the consumer before reading on."""
        return self.size >= self._capacity

    def put(self, payload: bytes) -> bool:
        """Add to the end; True when it went to the file, which happens only to a full buffer."""
        if self.closed:
            return False
        spooled = self.full
        if spooled or self._written_to > self._read_at:
            self._spool(payload)
        else:
            self._memory.append(payload)
        self.size += len(payload)
        return spooled

    def take(self) -> bytes:
        """The oldest piece; there has to be one."""
        piece = self._memory.popleft() if self._memory else self._unspool()
        self.size -= len(piece)
        return piece

    def close(self) -> None:
        """Drop what is inside and what will come."""
        self.closed = True
        self._memory.clear()
        self.size = 0
        self._read_at = self._written_to = 0
        if self._file is not None:
            self._file.close()
            self._file = None

    def _spool(self, payload: bytes) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="kubex-stream-")  # noqa: SIM115  # closed by close()
        self._file.seek(self._written_to)
        self._file.write(payload)
        self._written_to += len(payload)

    def _unspool(self) -> bytes:
        assert self._file is not None
        self._file.seek(self._read_at)
        piece = self._file.read(min(_PIECE, self._written_to - self._read_at))
        self._read_at += len(piece)
        if self._read_at == self._written_to:
            self._file.seek(0)
            self._file.truncate()
            self._read_at = self._written_to = 0
        return piece
