"""``kubex-stream exec``."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager, closing

from kubex_stream.api.pods import Pods
from kubex_stream.cli.containers import check_phase, choose_container
from kubex_stream.cli.failures import say
from kubex_stream.cli.local import LocalOutput, local_input
from kubex_stream.cli.settings import ExecRequest, Settings
from kubex_stream.client.client import create_client
from kubex_stream.client.observer import Observer
from kubex_stream.client.options import ClientOptions
from kubex_stream.configuration import ClientConfiguration

__all__ = ("exec_command",)

_logger = logging.getLogger("kubex_stream")


class _Log(Observer):
    """Tells of streams in the log."""

    def opened(self, path: str, subprotocol: str) -> None:
        _logger.info("%s: open, %s", path, subprotocol)

    def closed(self, path: str, error: BaseException | None) -> None:
        _logger.info("%s: left%s", path, "" if error is None else f" after {type(error).__name__}")


@asynccontextmanager
async def _configuration(settings: Settings) -> AsyncGenerator[ClientConfiguration, None]:
    if not settings.embedded:
        yield await ClientConfiguration.load(kubeconfig=settings.kubeconfig, context=settings.context)
        return
    from kubex_stream.testing import EmbeddedCluster

    async with EmbeddedCluster() as cluster:
        yield cluster.configuration


async def exec_command(settings: Settings, request: ExecRequest) -> int:
    """Run the command, with this process's own stdin, stdout and stderr.

    :returns: the remote exit code
    """
    async with _configuration(settings) as configuration:
        client = create_client(
            configuration, options=ClientOptions(trust_env=True), backend=settings.backend, observer=_Log()
        )
        async with client:
            _logger.info("%r", client)
            return await _exec(Pods(client, settings.namespace), request)


async def _exec(pods: Pods, request: ExecRequest) -> int:
    pod = await pods.get(request.pod)
    check_phase(pod)
    container = choose_container(pod, request.container, say)
    with closing(LocalOutput(1)) as stdout, closing(LocalOutput(2)) as stderr:
        async with aclosing(local_input()) as stdin:
            result = await pods.exec.run(
                request.pod,
                request.command,
                container=container,
                input=stdin if request.stdin else None,
                stdout=stdout,
                stderr=stderr,
            )
        await stdout.finish()
        await stderr.finish()
    _logger.info("%s", result.statistics)
    if result.exit_code:
        say(f"command terminated with exit code {result.exit_code}")
    return result.exit_code
