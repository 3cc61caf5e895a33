"""Another client's Authorization header, as that client would send it now.

``LiveAuthorization`` is what a ClientConfiguration holds in ``token``: a token function, and also the maker of a source for each of our
clients.  As a source it can carry any value that the other client may have, Basic as well as Bearer, and none at all.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import ContextVar

import anyio

from kubex_stream.configuration.sources import Source, SourceMaker, bearer
from kubex_stream.errors import ConfigurationError

__all__ = ("LiveAuthorization", "parse")


def parse(value: object, label: str) -> str | None:
    """The header for what another package holds: with a scheme in front or without, in any case, with white space around.

    :param label: how errors call where it comes from
    :raises ConfigurationError: it cannot be sent
    """
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise ConfigurationError(f"{label}: the credentials are a {type(value).__name__}, not a string")
    words = value.split()
    # A prefix may be given beside a value that has it already.
    while len(words) > 1 and words[0].lower() == "bearer":
        del words[0]
    if len(words) == 2 and words[0].lower() == "basic":
        return "Basic " + bearer(words[1], label).removeprefix("Bearer ")
    if len(words) > 1:
        raise ConfigurationError(
            f"{label}: the credentials are neither of the scheme Bearer nor Basic; pass token= or a header"
        )
    return bearer(words[0], label) if words else None


class LiveAuthorization(SourceMaker):
    """Where the header comes from.

    :param label: how errors call it
    :param read: gives the value of the moment, in any form that :func:`parse` takes; it may have to refresh it first
    :param renew: called after a 401 that ``read`` alone does not mend
    """

    def __init__(
        self,
        label: str,
        read: Callable[[], Awaitable[object]],
        renew: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        self.label = label
        self._read = read
        self._renew = renew

    def __repr__(self) -> str:
        return f"<credentials of {self.label}>"

    async def __call__(self) -> str:
        """The token alone.

        :raises ConfigurationError: there is none
        """
        header = await self.header()
        if header is None or not header.startswith("Bearer "):
            raise ConfigurationError(f"{self.label}: there is no bearer token")
        return header.removeprefix("Bearer ")

    async def header(self) -> str | None:
        """The header of the moment."""
        try:
            value = await self._read()
        except ConfigurationError:
            raise
        except Exception as exc:
            # Its text may hold a command line or a token; the cause has it, for whoever wants to look.
            raise ConfigurationError(f"{self.label}: refreshing the credentials failed ({type(exc).__name__})") from exc
        return parse(value, self.label)

    async def renew(self) -> bool:
        """Make the other client get new credentials, if it has a way beyond that of every read."""
        if self._renew is None:
            return False
        try:
            await self._renew()
        except Exception as exc:
            raise ConfigurationError(f"{self.label}: renewing the credentials failed ({type(exc).__name__})") from exc
        return True

    def source(self) -> Source:
        """A source for one client of ours."""
        return _LiveSource(self)


#: The header that the current task was given last, and by whom: what a 401 that it reports is about.
_given: ContextVar[tuple[_LiveSource, str | None] | None] = ContextVar("kubex_stream_given_live", default=None)


class _LiveSource:
    """One read at a time: whoever waited while another task's went on takes its result, be it a header or a failure."""

    def __init__(self, live: LiveAuthorization) -> None:
        self._live = live
        self._lock = anyio.Lock()
        self._reads = 0
        self._renewals = 0
        self._header: str | None = None
        self._failure: str | None = None

    async def authorization(self) -> str | None:
        reads = self._reads
        async with self._lock:
            if self._reads == reads:
                await self._read()
            if self._failure is not None:
                raise ConfigurationError(self._failure)
            header = self._header
        _given.set((self, header))
        return header

    async def renew(self) -> bool:
        """Is there another header now than the one that was refused?"""
        given = _given.get()
        refused = given[1] if given is not None and given[0] is self else self._header
        renewals = self._renewals
        async with self._lock:
            await self._read()
            if self._header == refused and self._renewals == renewals and await self._live.renew():
                self._renewals += 1
                await self._read()
            return self._header != refused

    async def _read(self) -> None:
        try:
            self._header, self._failure = await self._live.header(), None
        except ConfigurationError as exc:
            self._header, self._failure = None, str(exc)
            self._reads += 1
            raise
        self._reads += 1
