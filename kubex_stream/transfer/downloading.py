"""From a container to here.

Rules of this file:
- tar writes to its stdout; nothing is started in between, so tar alone is needed.  Without stdin the subprotocol is v4, which loses nothing
  when a reader is slow, and ends the command when the connection is cut.
- What came is complete when tar has ended well and the archive has its end.
- After a break the archive is made anew, and the container passes on only what is missing: ``tail`` skips what came, but for the header of
  the last entry.  If that is byte for byte as it was (name, size, time, mode), the rest fits what is here; if not, something has changed
  and all starts again.
- Receiving and writing overlap; at most a few mebibytes are on the way.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final, Protocol

import anyio
from anyio.abc import ObjectReceiveStream, ObjectSendStream

from kubex_stream.errors import ApiError, CopyError, StartError
from kubex_stream.session.process import ExecProcess
from kubex_stream.session.streams import OutputStream
from kubex_stream.transfer.archive import ArchiveReader, Receiver
from kubex_stream.transfer.container import (
    V4,
    V5,
    Complaints,
    Container,
    lacks_program,
    look,
    packed_name,
    refuses_protocol,
    resumed_tar,
    together,
)
from kubex_stream.transfer.names import RemotePath
from kubex_stream.transfer.result import Refusals
from kubex_stream.transfer.retrying import Retries

__all__ = ("Download", "NoTar", "Sink", "open_output", "read_all")

#: What is handed to the worker thread at a time, where so much is there.
_BATCH: Final = 512 * 1024


class NoTar(Exception):
    """The container has no tar."""


class Sink(Receiver, Protocol):
    """What takes an archive, and can be told to forget it."""

    root_link: str | None
    refusals: Refusals
    files: int
    directories: int
    links: int
    copied: int
    name: str
    digests: dict[tuple[str, ...], bytes]

    def finish(self) -> None:
        """All of it has come."""

    def abandon(self) -> None:
        """It will not be completed."""


@asynccontextmanager
async def open_output(container: Container, command: list[str]) -> AsyncGenerator[ExecProcess[OutputStream], None]:
    """A command that writes.  Leaving early ends it, but for servers without v4."""
    async with AsyncExitStack() as stack:
        scope = container.stream(command, stdin=False, stdout=True, protocols=[V4], kill=True)
        try:
            process = await stack.enter_async_context(scope)
        except ApiError as error:
            if not refuses_protocol(error):
                raise
            scope = container.stream(command, stdin=False, stdout=True, protocols=[V5], kill=False)
            process = await stack.enter_async_context(scope)
        yield process


async def read_all(stream: OutputStream, take: Callable[[bytes], Awaitable[object]]) -> None:
    """Pass on all of a stream, in pieces as large as what is there; what has come is passed on before an error is raised."""
    while True:
        gathered = bytearray()
        failure: Exception | None = None
        try:
            gathered += await stream.receive()
            while len(gathered) < _BATCH:
                gathered += stream.receive_nowait()
        except anyio.WouldBlock:
            pass
        except Exception as error:  # noqa: BLE001  # raised again when what came before it is passed on
            failure = error
        if gathered:
            await take(bytes(gathered))
        if isinstance(failure, anyio.EndOfStream):
            return
        if failure is not None:
            raise failure


class Download:
    """One source in a container.

    :param make_sink: gives what takes the archive; called again where all starts again
    :param on_data: told after each piece
    """

    def __init__(
        self,
        container: Container,
        path: RemotePath,
        *,
        make_sink: Callable[[], Sink],
        retries: Retries,
        on_data: Callable[[Sink], object],
    ) -> None:
        self._container = container
        self._path = path
        self._make_sink = make_sink
        self._retries = retries
        self._on_data = on_data
        self._arguments: list[str] = []
        self._resumable: bool | None = None
        self._check = b""
        self.sink = make_sink()
        self._reader = ArchiveReader(self.sink)
        self.resumed = 0

    async def run(self) -> None:
        """Copy.

        :raises NoTar: there is no tar
        :raises CopyError: it failed
        """
        await self.instead(self._from_tar)

    async def instead(self, copy: Callable[[Sink], Awaitable[object]]) -> None:
        """Copy in another way; nothing half is left."""
        try:
            await copy(self.sink)
            await anyio.to_thread.run_sync(self.sink.finish)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(self.sink.abandon)

    async def _from_tar(self, _: Sink) -> None:
        member = await self._retries.insist(lambda: packed_name(self._container, self._path))
        self._arguments = ["-cf", "-", "-C", self._path.directory, member]
        await self._complete()
        if self.sink.root_link is not None:
            await self._follow()

    async def _follow(self) -> None:
        """What was asked for is a symbolic link: take what it leads to, a directory or else a file."""
        *options, member = self._arguments
        try:
            await self._again([*options, f"{member}/."])
        except CopyError:
            if self._reader.anchor is not None:
                raise  # it is a directory, and something in it is the trouble
            await self._again(["-chf", *options[1:], member])

    async def _again(self, arguments: list[str]) -> None:
        self._arguments = arguments
        await self._restart()
        await self._complete()

    async def _restart(self) -> None:
        await anyio.to_thread.run_sync(self.sink.abandon)
        self.sink = self._make_sink()
        self._reader = ArchiveReader(self.sink)

    async def _complete(self) -> None:
        """Until all of the archive is here."""
        while True:
            before = self._reader.position
            try:
                await self._attempt()
                return
            except _Changed:
                await self._restart()
            except Exception as error:  # noqa: BLE001  # raised again where it is no break
                await self._retries.pause(error, advanced=self._reader.position > before)
                if not await self._can_resume():
                    await self._restart()

    async def _can_resume(self) -> bool:
        if self._reader.anchor is None:
            return False
        if self._resumable is None:
            try:
                facts = await self._retries.insist(lambda: look(self._container, self._path.path, self._path.directory))
            except StartError:
                return False  # the next attempt will tell, or another one
            self._resumable = facts.shell and not (facts.lacks("tail") or facts.lacks("dd"))
        return self._resumable

    async def _attempt(self) -> None:
        anchor = self._reader.anchor
        command = ["tar", *self._arguments]
        complaints = Complaints()
        if anchor is not None:
            command = resumed_tar(
                self._arguments,
                offset=anchor.offset,
                anchor=len(anchor.header),
                position=self._reader.position,
                mark=complaints.mark,
            )
        self._check = anchor.header if anchor is not None else b""
        try:
            async with open_output(self._container, command) as process:
                await self._carry(process, complaints)
                code = await process.wait()
        except StartError as error:
            if lacks_program(error) and anchor is None:
                raise NoTar from error
            raise
        self._judge(code if anchor is None else complaints.exit_code, complaints)

    def _judge(self, code: int | None, complaints: Complaints) -> None:
        if self._check:
            raise _Changed("what is copied has changed")
        if code:
            raise CopyError(
                f"tar in the container ended with exit code {code}: {complaints.text or 'it did not say why'}"
            )
        self._reader.finish()
        if code is None:
            raise CopyError("tar in the container ended, and nobody knows how")

    async def _carry(self, process: ExecProcess[OutputStream], complaints: Complaints) -> None:
        given, taken = anyio.create_memory_object_stream[bytes](1)

        async def receive(into: ObjectSendStream[bytes]) -> None:
            async with into:
                await read_all(process.stdout, into.send)

        async def write(pieces: ObjectReceiveStream[bytes]) -> None:
            async with pieces:
                async for piece in pieces:
                    await anyio.to_thread.run_sync(self._feed, piece)
                    self._on_data(self.sink)

        lost: list[Exception] = []

        async def note_loss() -> None:
            # The writer is to finish what has come before a break is told.
            try:
                await receive(given)
            except Exception as error:  # noqa: BLE001  # raised below
                lost.append(error)

        async def listen() -> None:
            try:
                await complaints.collect(process.stderr)
            except Exception:  # noqa: BLE001  # stdout tells the same
                return

        await together(note_loss, lambda: write(taken), listen)
        if lost:
            raise lost[0]

    def _feed(self, piece: bytes) -> None:
        if self._check:
            piece = self._compare(piece)
        self._reader.feed(piece)

    def _compare(self, piece: bytes) -> bytes:
        size = min(len(piece), len(self._check))
        if piece[:size] != self._check[:size]:
            raise _Changed("what is copied has changed")
        self._check = self._check[size:]
        self.resumed += not self._check
        return piece[size:]


class _Changed(CopyError):
    """The archive is not the one that was cut."""
