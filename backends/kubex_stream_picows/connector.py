"""Connections whose TLS is aiofastnet's.

aiohttp's connector resolves names, races addresses, talks to proxies and maps errors; only the last step is another one here.  It asks
its event loop for a connection in two methods, and those are run with a loop that has aiofastnet's way of making one.  Should aiohttp
rename them, connections are made as it makes them itself: slower, and nothing else.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import aiofastnet
import aiohttp

__all__ = ("FastConnector",)


class _FastLoop:
    """An event loop whose connections are aiofastnet's."""

    def __init__(self, loop: Any) -> None:
        self._loop = loop
        self.create_connection = partial(aiofastnet.create_connection, loop)
        self.start_tls = partial(aiofastnet.start_tls, loop)

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
