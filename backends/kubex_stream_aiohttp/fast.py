"""Connections whose TLS is aiofastnet's.

aiohttp's connector resolves names, races addresses, talks to proxies and maps errors; only the last step is another one here.  It asks
its event loop for a connection in two methods, and those are run with a loop that has aiofastnet's way of making one.  Should aiohttp
rename them, connections are made as it makes them itself: slower, and nothing else.
"""

from __future__ import annotations

import select
import ssl
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, Final

import aiofastnet
import aiohttp

__all__ = ("FastConnector",)


#: OpenSSL's codes for a certificate with other names, and one with other addresses.
_OTHER_NAME: Final = frozenset({62, 64})


@contextmanager
def _named(name: str | None) -> Generator[None, None, None]:
    """Say which name a certificate lacks, as Python's own TLS does."""
    try:
        yield
    except ssl.SSLCertVerificationError as error:
        if error.verify_code in _OTHER_NAME and name and name not in error.verify_message:
            error.verify_message += f", certificate is not valid for '{name}'."
        raise


class _AttentiveLoop:
    """An event loop that tells of a reset as often as asyncio's does.

    uvloop (libuv's ``uv_poll``) tells of an error once and never again, also where bytes came before it; aiofastnet reads a part of them
    and waits to be told of the rest.
    """

    def __init__(self, loop: Any) -> None:
        self._loop = loop
        self._readers: dict[int, object] = {}

    def add_reader(self, descriptor: int, callback: Callable[..., object], *args: Any) -> None:
        reader = self._readers[descriptor] = object()
        pending = select.poll()
        pending.register(descriptor, 0)  # errors are always told

        def ready() -> None:
            if self._readers.get(descriptor) is reader:
                callback(*args)
            if self._readers.get(descriptor) is reader and pending.poll(0):
                self._loop.call_soon(ready)

        self._loop.add_reader(descriptor, ready)

    def remove_reader(self, descriptor: int) -> Any:
        self._readers.pop(descriptor, None)
        return self._loop.remove_reader(descriptor)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)


class _FastLoop:
    """An event loop whose connections are aiofastnet's."""

    def __init__(self, loop: Any) -> None:
        self._loop = loop
        self._readers: Any = _AttentiveLoop(loop) if type(loop).__module__.partition(".")[0] == "uvloop" else loop

    async def create_connection(self, *args: Any, **kwargs: Any) -> Any:
        with _named(kwargs.get("server_hostname")):
            return await aiofastnet.create_connection(self._readers, *args, **kwargs)

    async def start_tls(self, *args: Any, **kwargs: Any) -> Any:
        with _named(kwargs.get("server_hostname")):
            return await aiofastnet.start_tls(self._readers, *args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)


class _OnFastLoop:
    """A connector as its own methods see it, on that loop."""

    def __init__(self, connector: Any) -> None:
        self._connector = connector
        self._loop = _FastLoop(connector._loop)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connector, name)


class FastConnector(aiohttp.TCPConnector):
    """As many connections as there are, each used once."""

    def __init__(self) -> None:
        super().__init__(force_close=True, limit=0)

    async def _wrap_create_connection(self, *args: Any, **kwargs: Any) -> Any:
        method: Any = aiohttp.TCPConnector._wrap_create_connection
        return await method(_OnFastLoop(self), *args, **kwargs)

    async def _start_tls_connection(self, *args: Any, **kwargs: Any) -> Any:
        method: Any = aiohttp.TCPConnector._start_tls_connection
        return await method(_OnFastLoop(self), *args, **kwargs)
