"""From the options to an open client, and what is told of it in the log.

Once ``-v`` tells of streams, twice of the set-up and of every request, three times of each message's size.  A command, a token or anything
else that might be secret is in none of them.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from kubex_stream.api.pods import Pods
from kubex_stream.cli.settings import Settings
from kubex_stream.cli.trace import TracingClient
from kubex_stream.client.client import create_client
from kubex_stream.client.observer import Observer
from kubex_stream.client.options import ClientOptions
from kubex_stream.configuration import ClientConfiguration
from kubex_stream.configuration.urls import redacted

__all__ = ("FRAMES", "Log", "log_for", "open_pods")

#: The level of what is told of single messages.
FRAMES = 5

_logger = logging.getLogger("kubex_stream")


class Log(Observer):
    """Tells of streams in the log."""

    def opened(self, path: str, subprotocol: str) -> None:
        _logger.info("%s: open, %s", path, subprotocol)

    def closed(self, path: str, error: BaseException | None) -> None:
        _logger.info("%s: left%s", path, "" if error is None else f" after {type(error).__name__}")


class FrameLog(Log):
    """Tells of messages too, which no session does faster for."""

    def frame(self, path: str, *, sent: bool, channel: int, size: int) -> None:
        _logger.log(FRAMES, "%s: %s %d bytes on channel %d", path, "sent" if sent else "received", size, channel)


def log_for(settings: Settings) -> Log:
    """What tells as much as ``-v`` asks for."""
    return FrameLog() if settings.verbosity > 2 else Log()


@asynccontextmanager
async def open_pods(settings: Settings, observer: Observer) -> AsyncGenerator[Pods, None]:
    """The pods of the namespace that is meant, through a client that is open for as long as the block lasts."""
    async with _configuration(settings) as configuration:
        plain = create_client(configuration, options=_options(settings), backend=settings.backend, observer=observer)
        _logger.info("%r", plain)
        async with TracingClient(plain) if settings.verbosity > 1 else plain as client:
            pods = Pods(client, settings.namespace)
            _tell_of(configuration, settings, pods)
            yield pods


@asynccontextmanager
async def _configuration(settings: Settings) -> AsyncGenerator[ClientConfiguration, None]:
    if not settings.embedded:
        yield await ClientConfiguration.load(
            kubeconfig=settings.kubeconfig, context=settings.context, overrides=settings.overrides
        )
        return
    from kubex_stream.testing import EmbeddedCluster

    async with EmbeddedCluster() as cluster:
        yield cluster.configuration


def _options(settings: Settings) -> ClientOptions:
    given: dict[str, Any] = {}
    if settings.timeout is not None:
        seconds = settings.timeout or None  # as kubectl's, 0 is no limit
        given = {"timeout": seconds, "open_timeout": seconds}
    return ClientOptions(trust_env=True, impersonate=settings.impersonation, **given)


def _tell_of(configuration: ClientConfiguration, settings: Settings, pods: Pods) -> None:
    _logger.debug("server %s (%s)", configuration.url, configuration.origin.cluster)
    _logger.debug("user: %s (%s)", _authentication(configuration), configuration.origin.user)
    acted = settings.impersonation or configuration.impersonate
    if acted is not None:
        _logger.debug("acting as %s", acted.user)
    if configuration.proxy_url is not None:
        _logger.debug("proxy %s", redacted(configuration.proxy_url))
    if configuration.insecure_skip_tls_verify:
        _logger.debug("the server's certificate is not verified")
    _logger.debug("namespace %s", pods.namespace)


def _authentication(configuration: ClientConfiguration) -> str:
    """The ways of authentication, without what they show."""
    ways = {
        "a client certificate": configuration.has_client_certificate,
        "a token": configuration.token is not None,
        "a token file": configuration.token_file is not None,
        "a user name and a password": configuration.username is not None,
        "an exec plugin": configuration.exec_plugin is not None,
    }
    return ", ".join(way for way, used in ways.items() if used) or "nothing"
