"""From here into a container.

Rules of this file:
- tar there reads its stdin to the end, so the subprotocol is v5.  Where a server has only v4, which cannot end stdin, ``head`` counts: the
  size of the archive is known before.
- A process that ends with its input unread may never be reported, and on v5 is reported with exit code 0.  So where there is a shell
  something reads on behind tar, and tar's own code comes by stderr; where there is none, an upload whose input was not all taken has
  failed, and so has one where nothing moves any more after a complaint.
- After a break the files that tar has told of (``-v``), but for the last of them, are there; with the last one it goes on.  They are known
  by name, since the tree may have changed meanwhile.  Links cost nothing and are sent again: GNU's tar makes some of them only when it ends.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Final, Protocol

import anyio
from anyio.abc import ObjectReceiveStream, ObjectSendStream

from kubex_stream.errors import ApiError, CopyError, HalfCloseUnsupported, KubexClientException, StartError, StdinBroken
from kubex_stream.session.process import ExecProcess
from kubex_stream.session.streams import OutputStream
from kubex_stream.transfer.container import (
    V4,
    V5,
    Complaints,
    Container,
    Facts,
    lacks_program,
    refuses_protocol,
    shell_tar,
    tar_flags,
    together,
)
from kubex_stream.transfer.names import RemotePath
from kubex_stream.transfer.packing import RECORD
from kubex_stream.transfer.result import Refusals
from kubex_stream.transfer.retrying import Retries

__all__ = ("Place", "Source", "Upload", "place")

#: Seconds in which something has to move after tar complained, where nothing tells of its end.
PATIENCE: Final = 15.0
#: Seconds for the end of the command when tar's own has been told.
GRACE: Final = 5.0
#: Bytes of a name as tar tells it.
_LONGEST_NAME: Final = 65536


class Source(Protocol):
    """What packs; see :class:`~kubex_stream.transfer.packing.Packer`."""

    files: int
    directories: int
    links: int
    copied: int
    name: str
    done: set[str]
    keep_order: bool
    order: dict[str, int]
    digests: dict[str, bytes]
    refusals: Refusals

    def measure(self) -> tuple[int, int]:
        """Bytes of contents, and of the archive."""

    def pieces(self) -> Generator[bytes, None, None]:
        """The archive."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a container something goes.

    :ivar directory: where tar goes first; it is there
    :ivar name: what it is called there; empty where contents go into the directory
    """

    directory: str
    name: str


def place(target: RemotePath, facts: Facts, base: str, *, is_directory: bool) -> Place:
    """Where a copy goes: into a directory that is there, or else to that very name.

    :param base: the source's name; empty where the contents of a directory are meant
    :raises CopyError: it cannot go there
    """
    if facts.kind == "directory" or not target.base:
        return Place(target.path, base)
    if facts.kind == "other" and (is_directory or target.into):
        raise CopyError(f"{target.path} in the container is no directory")
    if not facts.parent:
        raise CopyError(f"there is no directory {target.directory} in the container")
    if target.into and base:
        return Place(target.directory, f"{target.base}/{base}")
    return Place(target.directory, target.base)


class Upload:
    """One source into a directory of a container.

    :param on_data: told after each piece
    """

    def __init__(
        self,
        container: Container,
        directory: str,
        source: Source,
        *,
        facts: Facts,
        preserve: bool,
        retries: Retries,
        on_data: Callable[[], object],
    ) -> None:
        self._container = container
        self._source = source
        self._facts = facts
        self._retries = retries
        self._on_data = on_data
        self._arguments = [*tar_flags(preserve), "-", "-C", directory]
        if retries.any:
            self._arguments.insert(0, "-v")
            source.keep_order = True
        self._told = _Told(source)
        self._half_close = True
        self.resumed = 0

    async def run(self) -> None:
        """Copy.

        :raises CopyError: it failed
        """
        while True:
            try:
                await self._attempt()
                return
            except Exception as error:  # noqa: BLE001  # raised again where it is no break
                complete = self._told.complete()
                await self._retries.pause(error, advanced=not complete <= self._source.done)
                self._source.done |= complete
                self.resumed += bool(self._source.done)

    async def _attempt(self) -> None:
        if self._half_close:
            try:
                await self._converse(None)
                return
            except ApiError as error:
                if not refuses_protocol(error):
                    raise
                self._half_close = False
        if not self._facts.shell or self._facts.lacks("head"):
            raise HalfCloseUnsupported(
                f"the server does not speak {V5} (Kubernetes 1.30), so tar's input cannot be ended, and the container has no sh or no head to "
                "count it"
            )
        _, size = await anyio.to_thread.run_sync(self._source.measure)
        await self._converse(size)

    async def _converse(self, size: int | None) -> None:
        talk = _Talk(self._source, self._on_data, size, watched=not self._facts.shell)
        command = shell_tar(self._arguments, size, talk.mark) if self._facts.shell else ["tar", *self._arguments]
        scope = self._container.stream(
            command, stdin=True, stdout=self._retries.any, protocols=[V4 if size else V5], kill=size is not None
        )
        self._told.forget()
        try:
            async with scope as process:
                try:
                    await talk.run(process, self._told if self._retries.any else None)
                finally:
                    if self._retries.any:
                        self._told.rest(process.stdout)
        except StartError as error:
            if lacks_program(error):
                raise CopyError("the container has no tar, which an upload of more than one file needs") from error
            raise
        talk.judge()


class _Told:
    """What tar has said that it begins with."""

    def __init__(self, source: Source) -> None:
        self._source, self._line, self._last = source, b"", 0

    def forget(self) -> None:
        """Another tar begins."""
        self._line, self._last = b"", 0

    async def collect(self, stream: OutputStream) -> None:
        async for data in stream:
            self._take(data)

    def rest(self, stream: OutputStream) -> None:
        """What has come and was not looked at when the connection broke."""
        with suppress(anyio.WouldBlock, anyio.EndOfStream, anyio.ClosedResourceError, KubexClientException):
            while True:
                self._take(stream.receive_nowait())

    def _take(self, data: bytes) -> None:
        *lines, rest = (self._line + data).split(b"\n")
        self._line = rest[:_LONGEST_NAME]
        for each in lines:
            if b"\\" not in each:  # or else it may be an escape, which looks like the name of another file
                self._last = max(self._last, self._source.order.get(each.decode("utf-8", "surrogateescape"), 0))

    def complete(self) -> set[str]:
        """The files that are there for sure: a line of output is a name only if no name holds a line break."""
        if any("\n" in name for name in self._source.order):
            return set()
        return set(islice(self._source.order, max(0, self._last - 1)))


class _Enough(Exception):
    """tar has ended, and there is nothing more to wait for."""


class _Talk:
    """One conversation with tar.

    :param size: of the archive, where it has to be told
    :param watched: nothing will tell when tar has ended before its input
    """

    def __init__(self, source: Source, on_data: Callable[[], object], size: int | None, *, watched: bool) -> None:
        self._source = source
        self._on_data = on_data
        self._size = size
        self._watched = watched
        self._complaints = Complaints()
        self._all_sent = False
        self._code: int | None = None
        self._lost = anyio.Event()  # a peer that ends its side and reads no more would hold a send up for minutes
        self.mark = self._complaints.mark

    async def run(self, process: ExecProcess[OutputStream], told: _Told | None) -> None:
        """Send the archive, and hear what comes of it."""
        given, taken = anyio.create_memory_object_stream[bytes](1)

        async def drive() -> None:
            await self._send(process, taken)
            await self._finish(process)
            self._complaints.any.set()  # there is nothing to watch for any more

        works = [lambda: self._read(given), drive, lambda: self._hear(self._complaints.collect, process.stderr)]
        if told is not None:
            works.append(lambda: self._hear(told.collect, process.stdout))
        if self._watched:
            works.append(lambda: self._watch(process))
        with suppress(_Enough):
            await together(*works)

    def judge(self) -> None:
        """Whether it went well.

        :raises CopyError: it did not
        """
        code = self._code if self._complaints.exit_code is None else self._complaints.exit_code
        said = self._complaints.text
        if code:
            raise CopyError(f"tar in the container ended with exit code {code}: {said or 'it did not say why'}")
        if code is None or not (self._all_sent or self._complaints.exit_code == 0):
            raise CopyError(f"tar in the container ended before it had taken all{': ' if said else ''}{said}")

    async def _read(self, given: ObjectSendStream[bytes]) -> None:
        pieces = self._source.pieces()
        try:
            async with given:
                while (piece := await anyio.to_thread.run_sync(next, pieces, None)) is not None:
                    try:
                        await given.send(piece)
                    except anyio.BrokenResourceError:
                        return  # tar wants no more
                    self._on_data()
        finally:
            pieces.close()

    async def _send(self, process: ExecProcess[OutputStream], taken: ObjectReceiveStream[bytes]) -> None:
        sent, grown = 0, False
        async with taken, anyio.create_task_group() as tasks:
            for event in (self._complaints.told, self._lost):
                tasks.start_soon(self._stop_sending, event, tasks.cancel_scope)
            with suppress(StdinBroken):
                async for piece in taken:
                    grown = self._size is not None and sent + len(piece) > self._size
                    if grown:
                        break
                    await process.stdin.send(piece)
                    sent += len(piece)
                # The tree has become smaller since it was measured.
                while self._size is not None and sent < self._size and not grown:
                    filling = bytes(min(self._size - sent, RECORD))
                    await process.stdin.send(filling)
                    sent += len(filling)
                self._all_sent = True
            tasks.cancel_scope.cancel()
        if grown:  # head would cut it, and where it cuts between two files nobody would complain
            raise CopyError(
                "what is copied became larger after it was measured, and the server has to be told its size before"
            )

    async def _stop_sending(self, event: anyio.Event, scope: anyio.CancelScope) -> None:
        await event.wait()
        if self._complaints.exit_code or self._lost.is_set():
            scope.cancel()

    async def _finish(self, process: ExecProcess[OutputStream]) -> None:
        if self._size is None:
            await process.stdin.aclose()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._stop_waiting, tasks.cancel_scope)
            failure: Exception | None = None
            try:
                self._code = await process.wait()
            except Exception as error:  # noqa: BLE001  # raised below
                failure = error
            tasks.cancel_scope.cancel()
        if failure is not None and self._complaints.exit_code is None:
            raise failure
        if self._code is None:
            raise _Enough

    async def _stop_waiting(self, scope: anyio.CancelScope) -> None:
        await self._complaints.told.wait()
        await anyio.sleep(GRACE)
        scope.cancel()

    async def _watch(self, process: ExecProcess[OutputStream]) -> None:
        await self._complaints.any.wait()
        sent = -1
        while process.exit_code is None and process.statistics.bytes_out > sent:
            sent = process.statistics.bytes_out
            with anyio.move_on_after(PATIENCE):
                await process.wait()
        if process.exit_code is None:
            raise CopyError(f"tar in the container takes nothing any more: {self._complaints.text}")

    async def _hear(self, collect: Callable[[OutputStream], Awaitable[None]], stream: OutputStream) -> None:
        try:
            await collect(stream)
        except KubexClientException:  # which is told elsewhere
            self._lost.set()
