"""What every request and every handshake carries to show who is asking: headers and a TLS context.

One object for each client, used by REST and WebSocket alike.  What takes time (files, plugins, OpenSSL) happens in threads.
"""

from __future__ import annotations

import logging
import time
from functools import partial
from typing import TYPE_CHECKING

import anyio
from anyio import to_thread

from kubex_stream.configuration.exec_plugin import Answer, ClusterInfo, ExecPlugin
from kubex_stream.configuration.plugin_process import run_plugin
from kubex_stream.configuration.sources import (
    CallableSource,
    PluginSource,
    Source,
    SourceMaker,
    StaticSource,
    TokenFileSource,
    basic,
    bearer,
)
from kubex_stream.configuration.tls import KeyPair, TlsMaterial, Watched, build_context, read_file
from kubex_stream.errors import ConfigurationError

if TYPE_CHECKING:
    import ssl

    from kubex_stream.configuration.model import ClientConfiguration

__all__ = ("Credentials",)

_logger = logging.getLogger("kubex_stream")


class Credentials:
    """The credentials of one configuration, kept fresh.  Safe for concurrent tasks of one event loop, asyncio or trio.

    Precedence is kubectl's: a token file, then a token or a user name and password, and a client certificate beside either; a plugin
    is asked only where none of these is given.

    :param reload_interval: seconds for which the content of a token file, of certificate files and of a CA file is believed
    """

    def __init__(self, configuration: ClientConfiguration, *, reload_interval: float = 10.0) -> None:
        self._may_refresh = configuration.try_refresh_token
        self._impersonation = configuration.impersonate.headers() if configuration.impersonate else []
        self._source = _source(configuration, reload_interval)
        secure = configuration.url.startswith("https:")
        self._contexts = _Contexts(configuration.tls_material(), reload_interval) if secure else None

    async def headers(self) -> list[tuple[str, str]]:
        """The Authorization header, if there is one, and those of impersonation; a name may come more than once.

        Ask for them again for each request: this reads a token file again when it may have changed, runs a plugin when its credentials
        are about to end, and awaits a token function.  Cancellation kills a running plugin and loses nothing.

        :raises ConfigurationError: a file or a plugin gives no usable credentials
        """
        authorization = await self._source.authorization()
        own = [] if authorization is None else [("Authorization", authorization)]
        return own + self._impersonation

    async def refresh(self) -> bool:
        """Call this after a 401, then try once more if it says True, with new headers and the context of a new :meth:`ssl_context`.

        It drops what is remembered: a token file is read again, a plugin is run again, changed certificate files are loaded again.  Tasks
        whose requests were refused with the same credentials cause one plugin run together, even when they come one after the other
        (as long as each has called :meth:`headers` itself).

        :return: False when there is nothing to renew, e.g. for a fixed token
        :raises ConfigurationError: there is, but it failed
        """
        if not self._may_refresh:
            return False
        renewed = await self._source.renew()
        reloaded = self._contexts is not None and self._contexts.forget()
        return renewed or reloaded

    async def ssl_context(self) -> ssl.SSLContext | None:
        """The context for connections to the API server, None for plain http.

        It is the same object as long as the client certificate and the CA stay the same, and a new one afterwards; connections that
        were made with the old one still show the old certificate.  ALPN offers http/1.1 only.

        :raises ConfigurationError: a file or a plugin gives no usable certificate
        """
        if self._contexts is None:
            return None
        pair = (await self._source.answer()).pair if isinstance(self._source, PluginSource) else None
        return await self._contexts.get(pair)


def _source(configuration: ClientConfiguration, interval: float) -> Source:
    """Choose by kubectl's precedence."""
    user, token, plugin = configuration.origin.user, configuration.token, configuration.exec_plugin
    if configuration.token_file is not None:
        fallback = bearer(token, user) if isinstance(token, str) else None
        return TokenFileSource(configuration.token_file, user, interval=interval, fallback=fallback)
    if isinstance(token, str):
        return StaticSource(bearer(token, user))
    if isinstance(token, SourceMaker):
        return token.source()
    if token is not None:
        return CallableSource(token)
    if configuration.username is not None:
        return StaticSource(basic(configuration.username, configuration.password or ""))
    if plugin is not None and not configuration.has_client_certificate:
        return PluginSource(partial(_ask, plugin, configuration), f"{user}: the credential plugin {plugin.command!r}")
    return StaticSource(None)


async def _ask(plugin: ExecPlugin, configuration: ClientConfiguration) -> Answer:
    cluster = await to_thread.run_sync(_cluster_info, configuration)
    return await run_plugin(plugin, cluster, configuration.origin.user)


def _cluster_info(configuration: ClientConfiguration) -> ClusterInfo:
    ca = configuration.server_ca_data
    if ca is None and configuration.server_ca_file is not None:
        ca = read_file(configuration.server_ca_file, f"{configuration.origin.cluster}: the CA file")
    return ClusterInfo(
        configuration.url,
        ca,
        configuration.insecure_skip_tls_verify,
        configuration.tls_server_name,
        configuration.proxy_url,
    )


class _Contexts:
    """The current TLS context, and what it was made of."""

    def __init__(self, material: TlsMaterial, interval: float) -> None:
        self._material = material
        self._interval = interval
        self._lock = anyio.Lock()
        self._context: ssl.SSLContext | None = None
        self._pair: KeyPair | None = None
        self._watched: Watched = ()
        self._next = 0.0

    def forget(self) -> bool:
        """Look at the files again next time.  True when a client certificate is among them."""
        self._next = 0.0
        return self._material.has_certificate_files

    async def get(self, pair: KeyPair | None) -> ssl.SSLContext:
        async with self._lock:
            context, same = self._context, pair == self._pair
            if context is not None and same and time.monotonic() < self._next:
                return context
            watched = await to_thread.run_sync(self._material.watch)
            self._next = time.monotonic() + self._interval
            if context is not None and same and watched == self._watched:
                return context
            try:
                context = await self._build(pair)
            except ConfigurationError as exc:
                if context is None or not same:
                    raise
                # The files may be between two versions.  The old ones were good, and the server will tell if they no longer are.
                _logger.warning("%s; the files read before stay in use until they can be loaded", exc)
                return context
            self._context, self._pair, self._watched = context, pair, watched
            return context

    async def _build(self, pair: KeyPair | None) -> ssl.SSLContext:
        if pair is None:
            return await to_thread.run_sync(build_context, self._material)
        return await to_thread.run_sync(build_context, self._material.with_pair(pair))
