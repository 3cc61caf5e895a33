"""One client of this library for each configuration of the official one.

Rules of this file:
- Everything but :func:`configure` and :func:`lease_of` happens in the loop, so nothing here needs a lock.
- A client is kept while an ``ApiClient`` with its configuration is alive, or something that was opened through it; then it is closed.  So
  it lives as long as the connections of the official package would.
- A configuration can be changed at any time.  What is opened after that goes through a new client, and the old one is closed when nothing
  uses it any more.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from kubex_stream.client.base import BaseClient
from kubex_stream.client.client import create_client
from kubex_stream.client.options import ClientOptions
from kubex_stream.client.registry import load_backend
from kubex_stream.compat.kubernetes.loop import BackgroundLoop
from kubex_stream.configuration import ClientConfiguration

__all__ = ("Lease", "configure", "lease_of")

#: A client, for the time of an ``async with``; entered in the loop.
Lease = Callable[[], AbstractAsyncContextManager[BaseClient]]

#: What makes a configuration another one.  Credentials and their hook do not: they are read for every request.
_SAID: Final = (
    "host", "ssl_ca_cert", "ca_cert_data", "cert_file", "key_file", "verify_ssl", "assert_hostname", "tls_server_name", "proxy", "no_proxy",
    "proxy_headers",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Settings:
    backend: str | type[BaseClient] | None = None
    options: ClientOptions | None = None


class _Process:
    """What holds for this process."""

    settings = _Settings()


def configure(*, backend: str | type[BaseClient] | None = None, options: ClientOptions | None = None) -> None:
    """How everything that is opened from now on works; without arguments, as in the beginning.

    :param backend: ``"aiohttp"``, ``"httpx"``, ``"picows"``, or a client class that runs on asyncio; None for the best that is installed
    :param options: time limits, buffers, proxies …
    :raises BackendNotAvailable: there is no such backend here; the text says what to install
    :raises TypeError: something else
    """
    if options is not None and not isinstance(options, ClientOptions):
        raise TypeError(f"options must be ClientOptions, not {type(options).__name__}")
    if isinstance(backend, str):
        backend = load_backend(backend)
    elif backend is not None and not _is_client_class(backend):
        raise TypeError(f"backend must be a name or a BaseClient class, not {backend!r}")
    _Process.settings = _Settings(backend, options)


def _is_client_class(backend: object) -> bool:
    return isinstance(backend, type) and issubclass(backend, BaseClient)


class _Entry:
    """One client, and who needs it."""

    def __init__(
        self, official: Any, said: tuple[str, ...], settings: _Settings, configuration: ClientConfiguration
    ) -> None:
        self.official = official  # held, so that its id stays its own
        self.said = said
        self.settings = settings
        self.owners: set[int] = set()
        self.leases = 0
        self._configuration = configuration
        self._client: BaseClient | None = None
        self._opening = asyncio.Lock()

    async def opened(self) -> BaseClient:
        async with self._opening:
            if self._client is None:
                client = create_client(
                    self._configuration, options=self.settings.options, backend=self.settings.backend
                )
                self._client = await client.open()
            return self._client

    async def aclose(self) -> None:
        async with self._opening:
            client, self._client = self._client, None
            if client is not None:
                await client.aclose()


class _Clients:
    """The clients of one loop."""

    def __init__(self, loop: BackgroundLoop) -> None:
        self._loop = loop
        self._entries: dict[int, _Entry] = {}
        self._replaced: set[_Entry] = set()
        self._reading = asyncio.Lock()
        loop.at_end(self._aclose)

    @asynccontextmanager
    async def lease(self, api_client: weakref.ref[Any], official: Any) -> AsyncIterator[BaseClient]:
        entry = await self._entry(official)
        self._own(api_client, entry)
        entry.leases += 1
        try:
            yield await entry.opened()
        finally:
            entry.leases -= 1
            self._look(entry)

    async def _entry(self, official: Any) -> _Entry:
        said, settings, key = _said(official), _Process.settings, id(official)
        async with self._reading:
            if not self._fits(key, said, settings):
                # It reads the certificates.
                configuration = await asyncio.to_thread(ClientConfiguration.from_kubernetes, _with_host_name(official))
                self._replace(key, _Entry(official, said, settings, configuration))
            return self._entries[key]

    def _fits(self, key: int, said: tuple[str, ...], settings: _Settings) -> bool:
        known = self._entries.get(key)
        return known is not None and known.said == said and known.settings is settings

    def _replace(self, key: int, entry: _Entry) -> None:
        known = self._entries.get(key)
        self._entries[key] = entry
        if known is not None:
            entry.owners, known.owners = known.owners, set()
            self._replaced.add(known)
            self._look(known)

    def _own(self, reference: weakref.ref[Any], entry: _Entry) -> None:
        api_client = reference()
        if api_client is None or id(api_client) in entry.owners:
            return
        key, owner = id(entry.official), id(api_client)
        entry.owners.add(owner)
        loop = self._loop

        def gone() -> None:
            loop.call_soon(lambda: self._disown(key, owner))

        weakref.finalize(api_client, gone).atexit = False

    def _disown(self, key: int, owner: int) -> None:
        entry = self._entries.get(key)
        if entry is not None:
            entry.owners.discard(owner)
            self._look(entry)

    def _look(self, entry: _Entry) -> None:
        """Close a client that nobody needs."""
        if entry.leases or entry.owners:
            return
        if self._entries.get(id(entry.official)) is entry:
            del self._entries[id(entry.official)]
        self._replaced.discard(entry)
        self._loop.spawn(entry.aclose)

    async def _aclose(self) -> None:
        _clients.pop(self._loop, None)
        for entry in (*self._entries.values(), *self._replaced):
            await entry.aclose()


_clients: Final[dict[BackgroundLoop, _Clients]] = {}


def lease_of(loop: BackgroundLoop, api_client: Any) -> Lease:
    """A client for the configuration of an ``ApiClient``; entering it raises ConfigurationError where that cannot be used."""
    official, reference = api_client.configuration, weakref.ref(api_client)

    def lease() -> AbstractAsyncContextManager[BaseClient]:
        clients = _clients.get(loop)
        if clients is None:
            clients = _clients[loop] = _Clients(loop)
        return clients.lease(reference, official)

    return lease


def _with_host_name(official: Any) -> Any:
    """A configuration; where it says that the server may have any name, the same one, alive, but for that: here names are always checked."""
    kind: Any = type(official)
    if getattr(official, "assert_hostname", None) is not False or not official.verify_ssl:
        return official
    always = property(lambda _: None)  # it comes before the value that the two share
    checked: Any = object.__new__(
        type(kind.__name__, (kind,), {"assert_hostname": always, "__module__": kind.__module__})
    )
    checked.__dict__ = official.__dict__
    return checked


def _said(official: Any) -> tuple[str, ...]:
    return tuple(repr(getattr(official, name, None)) for name in _SAID)
