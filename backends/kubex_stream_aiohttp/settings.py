"""From the project's settings to aiohttp's, and what to warn of since aiohttp has no counterpart."""

from __future__ import annotations

from collections.abc import Callable
from types import EllipsisType
from typing import Any, Final

import aiohttp

from kubex_stream.client import ClientOptions
from kubex_stream.core.params import Timeout
from kubex_stream.errors import BackendNotAvailable
from kubex_stream_aiohttp.telling import telling

__all__ = (
    "fast_connector",
    "ignored_options",
    "ignored_phases",
    "pool_connector",
    "read_buffer",
    "request_timeout",
    "stream_connector",
    "stream_timeout",
)

DEFAULT_POOL_SIZE: Final = 100
DEFAULT_BUFFER_SIZE: Final = 2**21


def ignored_options(options: ClientOptions, *, own_session: bool) -> list[str]:
    """What to warn of: each option that is given and will have no effect.

    :param own_session: the application brought its own session, whose connector has its own limits
    """
    texts = []
    if options.keep_alive_timeout is None:
        texts.append("keep_alive_timeout=None is ignored: with aiohttp idle connections always end, after 15 s")
    if isinstance(options.timeout, Timeout):
        texts += ignored_phases(options.timeout)
    if own_session:
        defaults = ClientOptions()
        texts += [
            f"{name} is ignored: the connector of the session that was handed over decides"
            for name in ("keep_alive", "keep_alive_timeout", "pool_size", "pool_size_per_host")
            if getattr(options, name) != getattr(defaults, name)
        ]
    return texts


def ignored_phases(timeout: Timeout) -> list[str]:
    """What to warn of: the phases that aiohttp cannot limit."""
    return [] if timeout.write is None else ["write= is ignored: aiohttp has no limit for writing"]


def pool_connector(options: ClientOptions) -> aiohttp.TCPConnector:
    """The connections of plain requests."""
    kept: dict[str, Any] = {}
    if not options.keep_alive:
        kept["force_close"] = True
    elif options.keep_alive_timeout is not None and not isinstance(options.keep_alive_timeout, EllipsisType):
        kept["keepalive_timeout"] = options.keep_alive_timeout
    return aiohttp.TCPConnector(
        limit=_limit(options.pool_size, DEFAULT_POOL_SIZE),
        limit_per_host=_limit(options.pool_size_per_host, 0),
        **kept,
    )


def stream_connector() -> aiohttp.TCPConnector:
    """The connections of streams and WebSockets: as many as there are, each used once."""
    return telling(aiohttp.TCPConnector(force_close=True, limit=0))


def fast_connector(tls: str, *, own_session: bool) -> Callable[[], aiohttp.TCPConnector]:
    """What makes the same connections with another TLS.  Raises as :class:`~kubex_stream_aiohttp.AioHttpClient` says."""
    if tls != "aiofastnet":
        raise ValueError(f"tls is 'standard' or 'aiofastnet', not {tls!r}")
    if own_session:
        raise ValueError("tls= cannot be chosen for a session that was handed over: its connector has its own")
    try:
        from kubex_stream_aiohttp.fast import FastConnector
    except ImportError as error:
        raise BackendNotAvailable("tls='aiofastnet' needs aiofastnet: pip install 'aiofastnet>=1.2'") from error
    return lambda: telling(FastConnector())


def _limit(value: int | EllipsisType | None, default: int) -> int:
    if isinstance(value, EllipsisType):
        return default
    return 0 if value is None else value


def read_buffer(options: ClientOptions) -> dict[str, int]:
    """How much of a plain response is read ahead, as an argument of a ClientSession; none for aiohttp's default."""
    if options.buffer_size is None:
        return {}
    return {
        "read_bufsize": DEFAULT_BUFFER_SIZE if isinstance(options.buffer_size, EllipsisType) else options.buffer_size
    }


def request_timeout(timeout: Timeout | Any | None, default: aiohttp.ClientTimeout) -> aiohttp.ClientTimeout:
    """The limits of a plain request.

    ``total`` is not among them, since the caller enforces it.  aiohttp counts the wait for a free connection and the making of a
    new one together, so a lone ``pool`` limits both.

    :param default: the session's, for ``...``
    """
    if isinstance(timeout, EllipsisType):
        return default
    if timeout is None:
        return aiohttp.ClientTimeout(total=None)
    return aiohttp.ClientTimeout(
        total=None,
        connect=None if timeout.pool is None else timeout.pool + (timeout.connect or 0.0),
        sock_connect=timeout.connect,
        sock_read=timeout.read,
    )


def stream_timeout(timeout: Timeout | Any | None, default: aiohttp.ClientTimeout) -> aiohttp.ClientTimeout:
    """The limits of a stream's head: as for a plain request, but aiohttp's 300 s in all would cut the stream."""
    limits = request_timeout(timeout, default)
    return aiohttp.ClientTimeout(
        total=None, connect=limits.connect, sock_connect=limits.sock_connect, sock_read=limits.sock_read
    )
