"""From the options to an open client, and what is told of it in the log."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from kubex_stream.api.pods import Pods
from kubex_stream.cli.settings import Settings
from kubex_stream.client.client import create_client
from kubex_stream.client.observer import Observer
from kubex_stream.client.options import ClientOptions
from kubex_stream.configuration import ClientConfiguration

__all__ = ("Log", "open_pods")

_logger = logging.getLogger("kubex_stream")


class Log(Observer):
    """Tells of streams in the log."""

    def opened(self, path: str, subprotocol: str) -> None:
        _logger.info("%s: open, %s", path, subprotocol)

    def closed(self, path: str, error: BaseException | None) -> None:
        _logger.info("%s: left%s", path, "" if error is None else f" after {type(error).__name__}")


@asynccontextmanager
async def open_pods(settings: Settings, observer: Observer) -> AsyncGenerator[Pods, None]:
    """The pods of the namespace that is meant, through a client that is open for as long as the block lasts."""
    async with _configuration(settings) as configuration:
        client = create_client(
            configuration, options=ClientOptions(trust_env=True), backend=settings.backend, observer=observer
        )
        async with client:
            _logger.info("%r", client)
            yield Pods(client, settings.namespace)


@asynccontextmanager
async def _configuration(settings: Settings) -> AsyncGenerator[ClientConfiguration, None]:
    if not settings.embedded:
        yield await ClientConfiguration.load(kubeconfig=settings.kubeconfig, context=settings.context)
        return
    from kubex_stream.testing import EmbeddedCluster

    async with EmbeddedCluster() as cluster:
        yield cluster.configuration
