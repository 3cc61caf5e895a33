"""One exec or attach session, in the loop: what comes goes into an inbox, what is written goes out, and the end is told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import AnyStr, Generic

import anyio

from kubex_stream.api.request import Opening
from kubex_stream.client.base import BaseClient
from kubex_stream.compat.kubernetes.clients import Lease
from kubex_stream.compat.kubernetes.inbox import End, Inbox
from kubex_stream.compat.kubernetes.loop import BackgroundLoop
from kubex_stream.errors import KubexClientException, ProtocolViolation, StdinBroken
from kubex_stream.protocol.channels import STDERR_CHANNEL, STDOUT_CHANNEL
from kubex_stream.session.ending import Ending
from kubex_stream.session.multiplexer import ChannelSession
from kubex_stream.session.process import ExecProcess, SessionScope
from kubex_stream.session.streams import OutputStream

__all__ = ("Session",)

#: Makes the request, once there is a client.
MakeOpening = Callable[[BaseClient], Opening]


class Session(Generic[AnyStr]):
    """A session and the task that carries it.

    :param inbox: gets what comes
    """

    def __init__(self, loop: BackgroundLoop, lease: Lease, inbox: Inbox[AnyStr]) -> None:
        self._loop = loop
        self._lease = lease
        self._inbox: Inbox[AnyStr] = inbox
        self._task: asyncio.Task[None] | None = None
        self._process: ExecProcess[OutputStream] | None = None
        self._session: ChannelSession | None = None
        self._more: anyio.Event | None = None
        inbox.resume = lambda: loop.call_soon(self._resume)

    # In any thread ----------------------------------------------------------------------------------------------------

    def open(self, make: MakeOpening) -> None:
        """Open it; returns when it is open.  Raises what the handshake raises."""
        self._loop.run(lambda: self._start(make))

    @property
    def subprotocol(self) -> str:
        """The one that was agreed on."""
        return "" if self._process is None else self._process.subprotocol

    def call(self, work: Callable[[ExecProcess[OutputStream]], Awaitable[None]]) -> None:
        """Do something with the open process.  Whatever comes meanwhile is taken, so that no process waits for us while we wait for it."""

        async def working() -> None:
            if self._process is None or self._inbox.end is not None:
                raise StdinBroken("the session has ended, and nothing can be sent any more")
            try:
                await work(self._process)
            except anyio.ClosedResourceError:
                raise StdinBroken("stdin was ended before, and nothing can be sent any more") from None

        self._loop.check()
        with self._inbox.flowing():
            self._loop.run(working)

    def close(self) -> None:
        """End it, and wait until its connection is closed."""
        if self._loop.inside:
            self._cancel()
        elif self._loop.usable:
            self._loop.run(self._stop)

    def abandon(self) -> None:
        """End it without waiting: nobody holds it any more."""
        self._loop.call_soon(self._cancel)

    # In the loop ------------------------------------------------------------------------------------------------------

    async def _start(self, make: MakeOpening) -> None:
        opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task = self._loop.spawn(lambda: self._run(make, opened))
        try:
            await opened
        except BaseException:
            self._cancel()
            raise

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _stop(self) -> None:
        self._cancel()
        if self._task is not None:
            await asyncio.wait([self._task])

    async def _run(self, make: MakeOpening, opened: asyncio.Future[None]) -> None:
        end = End()
        try:
            async with self._lease() as client:
                opening = make(client)
                del make  # it holds the application's client
                async with self._scope(opening) as process:
                    self._process = process
                    if not opened.done():
                        opened.set_result(None)
                    end = await self._carry(process)
        except Exception as error:  # noqa: BLE001  # told to whoever opens it, or reads
            if opened.done():
                end = End(failure=error)
            else:
                opened.set_exception(error)
        finally:
            if not opened.done():
                opened.cancel()
            self._inbox.finish(end)
            self._inbox.resume = lambda: None

    def _scope(self, opening: Opening) -> SessionScope[ExecProcess[OutputStream]]:
        streams = opening.streams()

        def wrap(session: ChannelSession) -> ExecProcess[OutputStream]:
            self._session = session
            return ExecProcess(session, streams)

        return SessionScope(lambda: opening.connect(streams), wrap, on_cancel=opening.on_cancel, left=opening.left())

    async def _carry(self, process: ExecProcess[OutputStream]) -> End:
        session = self._session
        assert session is not None
        async with anyio.create_task_group() as tasks:
            if STDOUT_CHANNEL in session.outputs:
                tasks.start_soon(self._copy, STDOUT_CHANNEL, process.stdout)
            if STDERR_CHANNEL in session.outputs:
                tasks.start_soon(self._copy, STDERR_CHANNEL, process.stderr)
        return _end(await session.wait())

    async def _copy(self, channel: int, output: OutputStream) -> None:
        try:
            async for data in output:
                if not self._inbox.put(channel, data):
                    await self._paused()
        except (KubexClientException, anyio.ClosedResourceError):
            return  # the ending tells

    async def _paused(self) -> None:
        while not self._inbox.wanted():
            self._more = self._more or anyio.Event()
            await self._more.wait()

    def _resume(self) -> None:
        if self._more is not None:
            self._more.set()
            self._more = None


def _end(ending: Ending) -> End:
    status = "" if ending.status is None else json.dumps(dict(ending.status.raw))
    if not status and isinstance(ending.error, ProtocolViolation) and ending.error.raw is not None:
        status = ending.error.raw.decode("utf-8", "replace")
    return End(ending.code, ending.error, status)
