"""What has been read of one channel and not yet been taken by its consumer.

Memory first, up to the capacity; then, where the session allows it, an unnamed temporary file, or memory again where no file can be had;
order is kept across all.  Writing the file blocks the event loop for the time of a copy into the page cache: a thread per message would
take longer, and could be cancelled between the socket and the file, where a message has no owner.
"""

from __future__ import annotations

import tempfile
from collections import deque
from typing import IO, Final

from kubex_stream.client.options import ClientOptions
from kubex_stream.errors import UnreadChannelError
from kubex_stream.protocol.channels import STDERR_CHANNEL, STDOUT_CHANNEL
from kubex_stream.statistics import SessionStatistics

__all__ = ("ChannelBuffer", "output_buffers")

_PIECE: Final = 64 * 1024
_SMALL: Final = 1024
_MANY: Final = 256


class ChannelBuffer:
    """The bytes of one output channel between the socket and the consumer.

    :param name: for messages, as ``stdout``
    :param capacity: bytes of memory after which it is full; what came with the last of them may be inside too, in a tunnel up to 64 KiB
    :param channel: the number of its channel, or of one of them; -1 where there are no channels
    """

    __slots__ = (
        "_capacity", "_file", "_memory", "_read_at", "_rest", "_written_to", "channel", "closed", "name", "receiving",
        "size", "spool_error", "touched",
    )  # fmt: skip

    def __init__(self, name: str, capacity: int, channel: int = -1) -> None:
        self.name = name
        self.channel = channel
        #: Bytes inside, the file's included.
        self.size = 0
        #: Whether anybody has ever received from it: one that nobody has is being ignored, not slow.
        self.touched = False
        #: Whether its consumer is waiting for more.
        self.receiving = False
        #: Whether its consumer wants no more; what comes is dropped then, on purpose.
        self.closed = False
        #: Why there is no file, or no room in it: then being full means to wait, as without a spool.
        self.spool_error: OSError | None = None
        self._capacity = capacity
        # Made when they are needed: an empty deque has 700 bytes, and most sessions wait most of the time.
        self._memory: deque[bytes] | None = None
        self._rest: deque[bytes] | None = None  # what the file could not take; it comes after the file
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
        wanted = self.full or self._written_to > self._read_at
        if self._rest or (wanted and not self._spool(payload)):
            if self._rest is None:
                self._rest = deque()
            self._rest.append(payload)
            wanted = False
        elif not wanted:
            self._remember(payload)
        spooled = wanted and self.full
        self.size += len(payload)
        return spooled

    def _remember(self, payload: bytes) -> None:
        if self._memory is None:
            self._memory = deque()
        # A flood of tiny messages would cost many times its size in objects.
        if len(self._memory) >= _MANY and len(self._memory[-1]) + len(payload) <= _SMALL:
            self._memory[-1] += payload
        else:
            self._memory.append(payload)

    def take(self) -> bytes:
        """The oldest piece; there has to be one."""
        from_file = not self._memory and self._written_to > self._read_at
        kept = self._memory or self._rest
        assert from_file or kept
        piece = self._unspool() if from_file or not kept else kept.popleft()
        self.size -= len(piece)
        return piece

    def unread(self, statistics: SessionStatistics) -> UnreadChannelError:
        """What a task gets that waits for something else while this is full and nobody has ever received from it."""
        return UnreadChannelError(
            f"{self.size} bytes of {self.name} are waiting and nobody has ever received them, so nothing more can come: receive "
            f"{self.name} in a task of its own, or do not request it ({self.name}=False)",
            statistics=statistics,
        )

    def close(self) -> None:
        """Drop what is inside and what will come."""
        self.closed = True
        self._memory = self._rest = None
        self.size = 0
        self._read_at = self._written_to = 0
        if self._file is not None:
            self._file.close()
            self._file = None

    def _spool(self, payload: bytes) -> bool:
        """Write to the end of the file; False where that is not possible, as on a read-only or full disk."""
        try:
            if self._file is None:
                # Unbuffered, so that what was written is there, and what failed is not tried again later.
                self._file = tempfile.TemporaryFile(prefix="kubex-stream-", buffering=0)  # noqa: SIM115  # closed by close()
            self._file.seek(self._written_to)
            view = memoryview(payload)
            while view:
                view = view[self._file.write(view) :]
        except OSError as error:
            self.spool_error = error
            return False
        self._written_to += len(payload)
        return True

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


def output_buffers(options: ClientOptions, *, stdout: bool, stderr: bool, merge: bool) -> dict[int, ChannelBuffer]:
    """The buffers of the output channels that are requested.

    :param merge: stderr goes where stdout goes
    """
    outputs = {}
    if stdout:
        outputs[STDOUT_CHANNEL] = ChannelBuffer("stdout", options.stream_buffer_size, STDOUT_CHANNEL)
    if stderr:
        outputs[STDERR_CHANNEL] = (
            outputs[STDOUT_CHANNEL] if merge else ChannelBuffer("stderr", options.stream_buffer_size, STDERR_CHANNEL)
        )
    return outputs
