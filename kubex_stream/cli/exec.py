"""``kubex-stream exec``."""

from __future__ import annotations

import logging
from contextlib import aclosing
from dataclasses import dataclass

import typer

from kubex_stream.api.pods import Pods
from kubex_stream.cli.connection import log_for, open_pods
from kubex_stream.cli.containers import check_phase, choose_container
from kubex_stream.cli.durations import parse_duration
from kubex_stream.cli.failures import say
from kubex_stream.cli.finding import check_target, find_target
from kubex_stream.cli.local import LocalOutput, local_input
from kubex_stream.cli.options import Action, CommandLine, add_verb
from kubex_stream.cli.running import run_async
from kubex_stream.cli.settings import Settings, UsageError
from kubex_stream.cli.shared import (
    Container,
    DetachKeys,
    Names,
    Patience,
    Quiet,
    Stdin,
    Tty,
    checked_keys,
    teller,
    wants_terminal,
)

__all__ = ("ExecRequest", "add_exec", "exec_command")

_logger = logging.getLogger("kubex_stream")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecRequest:
    """What ``exec`` is to do.

    :ivar target: as ``web-0``, ``deploy/web``
    :ivar command: the program and its arguments; may hold secrets
    :ivar container: None: the default one
    :ivar stdin: whether local stdin goes to the command
    :ivar tty: whether the command is to have a terminal, which it gets where local stdin is one
    :ivar quiet: say nothing but what the command says
    :ivar patience: seconds for a pod of the target to run
    :ivar detach_keys: what leaves the command to itself; None: nothing does
    """

    target: str
    command: tuple[str, ...]
    container: str | None = None
    stdin: bool = False
    tty: bool = False
    quiet: bool = False
    patience: float = 60.0
    detach_keys: str | None = None


def add_exec(app: typer.Typer, line: CommandLine) -> None:
    """Add the verb."""

    def exec_verb(
        settings: Settings,
        names: Names = None,
        container: Container = None,
        stdin: Stdin = False,
        tty: Tty = False,
        quiet: Quiet = False,
        patience: Patience = "1m",
        detach_keys: DetachKeys = None,
    ) -> Action:
        """Run a command in a container, with its output, its errors and its exit code.

        It runs in a pod, or in a pod of svc/NAME, deploy/NAME, and so on with rs, sts, ds, rc and job.

        \b
        Examples:
          kubex-stream exec demo -- date
          kubex-stream exec -it demo -- bash                 a shell, on your terminal
          kubex-stream exec deploy/web -c app -- env         one container of a Deployment's pod
          kubex-stream exec -i demo -- tar xf - < some.tar   stdin, and its end
        """
        request = ExecRequest(
            target=_target(names or ()),
            command=_command(line.words),
            container=container,
            stdin=stdin,
            tty=tty,
            quiet=quiet,
            patience=parse_duration(patience, "--pod-running-timeout"),
            detach_keys=checked_keys(detach_keys),
        )
        return lambda: run_async(lambda: exec_command(settings, request), settings.backend)

    add_verb(
        app,
        line,
        "exec",
        exec_verb,
        summary="Run a command in a container, or a shell on your terminal.",
        usage="(POD | TYPE/NAME) [OPTIONS] -- COMMAND [ARGUMENT]...",
    )


def _target(names: list[str] | tuple[()]) -> str:
    if not names:
        raise UsageError("name a pod, or another object that has pods: exec POD -- COMMAND, exec TYPE/NAME -- COMMAND")
    if len(names) > 1:
        raise UsageError("exec POD COMMAND is not supported; write exec POD -- COMMAND")
    check_target(names[0])
    return names[0]


def _command(words: tuple[str, ...] | None) -> tuple[str, ...]:
    if not words:
        raise UsageError("you must specify at least one command for the container")
    return words


async def exec_command(settings: Settings, request: ExecRequest) -> int:
    """Run the command, with this process's own stdin, stdout and stderr.

    :returns: the remote exit code; 0 after detaching
    """
    tell = teller(quiet=request.quiet)
    async with open_pods(settings, log_for(settings)) as pods:
        pod = await find_target(pods, request.target, request.patience, tell)
        check_phase(pod, "exec into")
        container = choose_container(pod, request.container, tell)
        # kubectl's: -t alone has nothing to be a terminal of.
        tty = request.tty and request.stdin and wants_terminal(tell)
        work = _interact if tty else _exec
        code = await work(pods, pod["metadata"]["name"], container, request)
    if code is None:
        tell("\nDetached; the command goes on.")
    elif code:
        say(f"command terminated with exit code {code}")
    return code or 0


async def _interact(pods: Pods, name: str, container: str, request: ExecRequest) -> int | None:
    result = await pods.exec.interactive(name, request.command, container=container, detach_keys=request.detach_keys)
    _logger.info("%s", result.statistics)
    return result.exit_code


async def _exec(pods: Pods, name: str, container: str, request: ExecRequest) -> int | None:
    async with LocalOutput(1) as stdout, LocalOutput(2) as stderr, aclosing(local_input()) as stdin:
        result = await pods.exec.run(
            name,
            request.command,
            container=container,
            input=stdin if request.stdin else None,
            stdout=stdout,
            stderr=stderr,
        )
    _logger.info("%s", result.statistics)
    return result.exit_code
