"""From :class:`~kubex_stream.ClientOptions` to httpx's settings."""

from __future__ import annotations

import warnings
from typing import Any, Final

import httpx

from kubex_stream.client import ClientOptions
from kubex_stream.core.params import Timeout

__all__ = ("limits", "timeouts", "warn_of_ignored")

#: httpx's own defaults.
_PHASE: Final = 5.0
_POOL_SIZE: Final = 100
_IDLE_CONNECTIONS: Final = 20
_IDLE_SECONDS: Final = 5.0

_UNKNOWN: Final = {
    "buffer_size": "httpx has no read buffer whose size can be set",
    "pool_size_per_host": "httpx has no limit for each host; pool_size limits all of them",
}
#: What an application's own client decides by itself, and the values that ask for nothing.
_OWNERS: Final[dict[str, Any]] = {
    "proxy": None,
    "ssl_context": None,
    "keep_alive": True,
    "keep_alive_timeout": ...,
    "pool_size": ...,
}


def limits(options: ClientOptions) -> httpx.Limits:
    """The limits of the pool for plain requests."""
    size, idle = options.pool_size, options.keep_alive_timeout
    return httpx.Limits(
        max_connections=_POOL_SIZE if size is ... else size,
        max_keepalive_connections=_IDLE_CONNECTIONS if options.keep_alive else 0,
        keepalive_expiry=_IDLE_SECONDS if idle is ... else idle,
    )


def timeouts(timeout: Timeout | Any | None) -> dict[str, float | None]:
    """The phases as httpx's request extension; ``...`` is httpx's default of 5 s for each."""
    if timeout is ...:
        return dict.fromkeys(("connect", "read", "write", "pool"), _PHASE)
    timeout = timeout or Timeout()
    return {"connect": timeout.connect, "read": timeout.read, "write": timeout.write, "pool": timeout.pool}


def warn_of_ignored(options: ClientOptions, *, own_session: bool) -> None:
    """A UserWarning for each option that was given and cannot be honoured.

    :param own_session: the application brings its own ``httpx.AsyncClient``
    """
    ignored = [f"{name} is ignored: {why}" for name, why in _UNKNOWN.items() if getattr(options, name) is not ...]
    if own_session:
        ignored += [
            f"{name} is ignored: the httpx.AsyncClient given as session decides it"
            for name, nothing in _OWNERS.items()
            if getattr(options, name) != nothing
        ]
    for text in ignored:
        warnings.warn(text, UserWarning, stacklevel=3)
