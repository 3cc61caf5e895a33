"""``kubex-stream exec``."""

from __future__ import annotations

import logging
from contextlib import aclosing, closing

from kubex_stream.api.pods import Pods
from kubex_stream.cli.connection import Log, open_pods
from kubex_stream.cli.containers import check_phase, choose_container
from kubex_stream.cli.failures import say
from kubex_stream.cli.local import LocalOutput, local_input
from kubex_stream.cli.settings import ExecRequest, Settings

__all__ = ("exec_command",)

_logger = logging.getLogger("kubex_stream")


async def exec_command(settings: Settings, request: ExecRequest) -> int:
    """Run the command, with this process's own stdin, stdout and stderr.

    :returns: the remote exit code
    """
    async with open_pods(settings, Log()) as pods:
        return await _exec(pods, request)


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
