"""Where the Authorization header comes from: one small class for each way.

Each has ``authorization()``, the value of the header or None, and ``renew()``, called after a 401: it drops what is remembered, and says
whether another try makes sense.  All are safe for concurrent tasks.
"""

from __future__ import annotations

import inspect
import logging
import re
import time
from abc import ABC, abstractmethod
from base64 import b64encode
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from pathlib import Path
from typing import Protocol

import anyio
from anyio import to_thread

from kubex_stream.configuration.exec_plugin import Answer
from kubex_stream.configuration.tls import read_file
from kubex_stream.errors import ConfigurationError

__all__ = (
    "CallableSource",
    "PluginSource",
    "Source",
    "SourceMaker",
    "StaticSource",
    "TokenFileSource",
    "basic",
    "bearer",
    "read_token",
)

_logger = logging.getLogger("kubex_stream")
_TOKEN = re.compile(r"[\x21-\x7e]+")


class Source(Protocol):
    """What all of them can do."""

    async def authorization(self) -> str | None:
        """The value of the Authorization header, None for no such header."""

    async def renew(self) -> bool:
        """The last value was refused.  True when the next one may be better."""


class SourceMaker(ABC):
    """A token function that can do more than give a token."""

    @abstractmethod
    async def __call__(self) -> str:
        """The token alone."""

    @abstractmethod
    def source(self) -> Source:
        """A source of its own for each client."""


def bearer(token: str, where: str) -> str:
    """The header for a token.

    :raises ConfigurationError: the token cannot stand in a header
    """
    token = token.strip()
    if not _TOKEN.fullmatch(token):
        if token.lower().startswith("bearer "):
            raise ConfigurationError(
                f"{where}: the token begins with 'Bearer ', which is added by itself; leave it out"
            )
        what = "holds spaces, line breaks or characters outside ASCII" if token else "is empty"
        raise ConfigurationError(f"{where}: the token {what}; get a new one")
    return f"Bearer {token}"


def basic(username: str, password: str) -> str:
    """The header for a user name and a password, in UTF-8."""
    return "Basic " + b64encode(f"{username}:{password}".encode()).decode()


def read_token(path: Path, user: str) -> str:
    """The header for the token in a file.  Blocks."""
    content = read_file(path, f"{user}: the token file")
    return bearer(content.decode(errors="replace"), f"{user}: the token file {path}")


class StaticSource:
    """A header that never changes, or none."""

    def __init__(self, value: str | None) -> None:
        self._value = value

    async def authorization(self) -> str | None:
        return self._value

    async def renew(self) -> bool:
        return False


class CallableSource:
    """The application's own function, awaited for every header; what it wants to remember, it remembers itself."""

    def __init__(self, function: Callable[[], Awaitable[str]]) -> None:
        self._function = function

    async def authorization(self) -> str | None:
        awaitable: object = self._function()
        if not inspect.isawaitable(awaitable):
            raise ConfigurationError("ClientConfiguration(token=…): the function must be async; write async def")
        token: object = await awaitable
        if not isinstance(token, str):
            raise ConfigurationError(
                f"ClientConfiguration(token=…): the function gave a {type(token).__name__}, not a str"
            )
        return bearer(token, "ClientConfiguration(token=…)")

    async def renew(self) -> bool:
        return True


class TokenFileSource:
    """A file that something else rotates: read again when what is known is ``interval`` seconds old."""

    def __init__(self, path: Path, user: str, *, interval: float, fallback: str | None) -> None:
        self._path = path
        self._user = user
        self._interval = interval
        self._value = fallback
        self._next = 0.0
        self._lock = anyio.Lock()

    async def authorization(self) -> str | None:
        async with self._lock:
            if self._value is None:
                await self._read()
            elif time.monotonic() >= self._next:
                try:
                    await self._read()
                except ConfigurationError as exc:
                    # It may be between two versions; what we have may still be good, and the server will tell.
                    _logger.warning("%s; the last known token is used until it can", exc)
            return self._value

    async def renew(self) -> bool:
        async with self._lock:
            await self._read()
        return True

    async def _read(self) -> None:
        self._next = time.monotonic() + self._interval
        self._value = await to_thread.run_sync(read_token, self._path, self._user)


#: The answer that the current task was given last, and by whom: what a 401 that it reports is about.
_given: ContextVar[tuple[PluginSource, Answer] | None] = ContextVar("kubex_stream_given", default=None)


class PluginSource:
    """A plugin's answer, kept until it ends or is refused.

    One run at a time, and one run for all who want the same: whoever waited while another task's run went on takes its result, be it an
    answer or a failure, and whoever reports an answer that has been replaced since gets the new one.
    """

    def __init__(self, run: Callable[[], Awaitable[Answer]], name: str) -> None:
        self._run = run
        self._name = name
        self._lock = anyio.Lock()
        self._answer: Answer | None = None
        self._runs = 0
        self._failure: str | None = None

    async def authorization(self) -> str | None:
        answer = await self.answer()
        _given.set((self, answer))
        return None if answer.token is None else bearer(answer.token, self._name)

    async def answer(self) -> Answer:
        """The current answer; runs the plugin when there is none, or when it is about to end."""
        answer = self._answer
        if answer is not None and answer.is_fresh():
            return answer
        return await self._replace(answer)

    async def renew(self) -> bool:
        given = _given.get()
        refused = given[1] if given is not None and given[0] is self else self._answer
        await self._replace(refused)
        return True

    async def _replace(self, old: Answer | None) -> Answer:
        runs = self._runs
        async with self._lock:
            if self._answer is not None and self._answer is not old:
                return self._answer
            if self._runs != runs and self._failure is not None:
                raise ConfigurationError(self._failure)
            return await self._ask()

    async def _ask(self) -> Answer:
        self._answer = None
        try:
            answer = await self._run()
        except ConfigurationError as exc:
            self._failure = str(exc)
            self._runs += 1
            raise
        self._answer, self._failure = answer, None
        self._runs += 1
        return answer
