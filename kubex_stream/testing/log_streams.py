"""Serving logs: the open answers, what goes wrong with them on purpose, and what a user of the cluster does to logs.

Rules of this file: a follower's chunk holds what is there, of a quiet log one line.  A fault takes effect between two chunks, or inside of one
where it counts bytes.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Literal

from kubex_stream.testing import statuses
from kubex_stream.testing.behaviour import Behaviour
from kubex_stream.testing.http import Exchange
from kubex_stream.testing.log_requests import LogFilter, LogOptions, choose_container, parse_options
from kubex_stream.testing.logs import LogFile
from kubex_stream.testing.store import PodState
from kubex_stream.testing.tasks import cancel_and_wait

if TYPE_CHECKING:
    from kubex_stream.testing.loop_thread import LoopThread
    from kubex_stream.testing.server import Server

__all__ = ("LogControls", "LogStream", "serve_log")

_TEXT: Final = "text/plain"
_BATCH: Final = 512
#: ``cut``: RST.  ``end``: the body ends in order, as at a server's shutdown.  ``silence``: the connection stays, nothing is sent on it.
Fault = Literal["cut", "end", "silence"]


class LogStream:
    """An open answer.

    :ivar fault: what happens to it; None for nothing
    """

    def __init__(self, exchange: Exchange, behaviour: Behaviour, pod: str, namespace: str) -> None:
        self.pod, self.namespace = pod, namespace
        self.fault: Fault | None = None
        self._exchange = exchange
        self._behaviour = behaviour
        self._sent = 0
        self._failing = asyncio.Event()

    def fail(self, fault: Fault) -> None:
        """Let it go wrong now."""
        self.fault = fault
        self._failing.set()

    async def serve(self, file: LogFile, options: LogOptions) -> None:
        """Answer, until the log ends, the client leaves or something goes wrong."""
        leaving = asyncio.create_task(self._gone())
        failing = asyncio.create_task(self._failing.wait())
        sending = asyncio.create_task(self._send(file, options))
        try:
            await asyncio.wait({leaving, failing, sending}, return_when=asyncio.FIRST_COMPLETED)
            if self.fault is not None:
                await cancel_and_wait(sending)
                await self._suffer(leaving)
            elif sending.done() and not sending.cancelled() and sending.exception() is None:
                await self._exchange.end_stream()
        except OSError:
            pass
        finally:
            await cancel_and_wait(leaving, failing, sending)
        self._exchange.detached = leaving.done() and not leaving.cancelled()

    async def _gone(self) -> None:
        with contextlib.suppress(OSError):
            await self._exchange.connection.receive()

    async def _suffer(self, leaving: asyncio.Task[None]) -> None:
        if self.fault == "cut":
            await self._exchange.connection.reset()
        elif self.fault == "end":
            await self._exchange.end_stream()
        else:
            await leaving

    async def _send(self, file: LogFile, options: LogOptions) -> None:
        chosen = LogFilter(options)
        place = chosen.start(file)
        while not chosen.full:
            entries = file.entries[place : place + _BATCH]
            place += len(entries)
            if data := b"".join(chosen.wanted(entries)):
                await self._chunk(data)
            elif entries:
                await asyncio.sleep(0)
            elif file.following is not None:
                file, place = file.following, 0
            elif file.ended or not options.follow:
                return
            else:
                await file.changed(place)

    async def _chunk(self, data: bytes) -> None:
        cut, silent = self._behaviour.log_cut_after_bytes, self._behaviour.log_silent_after_bytes
        limit = min((each for each in (cut, silent) if each is not None), default=None)
        if limit is not None and self._sent + len(data) >= limit:
            await self._exchange.send_chunk(data[: limit - self._sent])
            self.fail("cut" if limit == cut else "silence")
            await asyncio.Event().wait()
        self._sent += len(data)
        await self._exchange.send_chunk(data)


async def serve_log(server: Server, exchange: Exchange, behaviour: Behaviour, pod: PodState | None, name: str) -> None:
    """Serve a request for a log.

    :param pod: the pod, None when there is none called ``name``
    """
    options = parse_options(exchange.request, name)
    if isinstance(options, dict):
        await exchange.respond_json(options)
        return
    found = statuses.not_found("pods", name) if pod is None else choose_container(pod, options)
    if isinstance(found, dict):
        await exchange.respond_json(found)
        return
    assert pod is not None
    if not pod.declared.scheduled:
        await exchange.respond(204, b"", _TEXT)
        return
    file = found.log.previous if options.previous else found.log.current
    assert file is not None
    stream = LogStream(exchange, behaviour, name, pod.declared.namespace)
    await exchange.start_stream(_TEXT)
    server.logs.add(stream)
    server.changed()
    try:
        await stream.serve(file, options)
    finally:
        server.logs.discard(stream)
        server.changed()


class LogControls:
    """What a user of an embedded cluster does to the logs of its containers."""

    def _running(self) -> tuple[LoopThread, Server]:
        raise NotImplementedError

    def _on_server(self, function: Callable[[Server], object]) -> None:
        raise NotImplementedError

    @property
    def open_logs(self) -> int:
        """How many answers with a log are open."""
        return len(self._running()[1].logs)

    def write_log(
        self,
        data: bytes,
        *,
        pod: str = "demo",
        container: str = "main",
        namespace: str = "default",
        time_ns: int | None = None,
    ) -> None:
        """Write to the log of a container, as its main process does.

        :param data: lines; what has no newline waits for the rest of it
        :param time_ns: nanoseconds since 1970; None: now
        :raises LookupError: there is no such container
        """
        self._on_server(
            lambda server: server.store.container(pod, container, namespace).log.write(1, data, time_ns=time_ns)
        )

    def rotate_log(self, pod: str = "demo", container: str = "main", namespace: str = "default") -> None:
        """Rotate the log of a container: what is in it now can no longer be asked for.

        :raises LookupError: there is no such container
        """
        self._on_server(lambda server: server.store.container(pod, container, namespace).log.rotate())

    def restart_container(self, pod: str = "demo", container: str = "main", namespace: str = "default") -> None:
        """Kill the main process of a container, where there is one, and begin it and its log anew.

        :raises LookupError: there is no such container
        :raises ValueError: the pod's ``restart_policy`` is ``Never``
        """
        thread, server = self._running()
        thread.call(server.store.restart(server.store.find(pod, namespace), container))

    def restarts(self, pod: str = "demo", container: str = "main", namespace: str = "default") -> int:
        """How often a container has begun anew.

        :raises LookupError: there is no such container
        """
        return self._running()[1].store.container(pod, container, namespace).restarts

    def fail_logs(self, fault: Fault = "cut", *, pod: str | None = None, namespace: str = "default") -> int:
        """Let open answers with logs go wrong; how many.  Requests after that are served as ever.

        :param fault: ``cut``: the connection is reset.  ``end``: the body ends in order, as when a server shuts down.  ``silence``: the
            connection stays, and nothing is sent on it any more
        :param pod: of this pod only
        """
        chosen: list[LogStream] = []

        def fail(server: Server) -> None:
            chosen.extend(each for each in server.logs if pod in (None, each.pod) and each.namespace == namespace)
            for each in chosen:
                each.fail(fault)

        self._on_server(fail)
        return len(chosen)
