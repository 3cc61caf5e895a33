"""``kubex-stream attach``.

Rules of this file (kubectl's: pkg/cmd/attach, and what servers do):
- A terminal is a property of the container.  One that has none is attached to without, whatever ``-t`` says; one that has one is attached to
  as such, since anything else is refused or loses output.
- The end of local stdin ends the attachment, unless the container was made for one attacher.  With a terminal it would have to be a character
  that ends whatever runs there, so the attachment is left instead.
- There is no exit code: a main process that fails is told as Success.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass
from functools import partial

import anyio
import typer

from kubex_stream.api.pods import Pods
from kubex_stream.cli.connection import log_for, open_pods
from kubex_stream.cli.containers import check_phase, choose_container, container_of
from kubex_stream.cli.durations import parse_duration
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
from kubex_stream.errors import HalfCloseUnsupported, KubexClientException, StdinBroken
from kubex_stream.session.process import AttachedProcess
from kubex_stream.session.streams import OutputStream

__all__ = ("AttachRequest", "add_attach", "attach_command")

_logger = logging.getLogger("kubex_stream")

Process = AttachedProcess[OutputStream]


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachRequest:
    """What ``attach`` is to do.

    :ivar target: as ``web-0``, ``deploy/web``
    :ivar container: None: the default one
    :ivar stdin: whether local stdin goes to the process
    :ivar tty: whether a terminal is asked for
    :ivar quiet: say nothing but what the process says
    :ivar patience: seconds for a pod of the target to run
    :ivar detach_keys: what leaves the process to itself; None: nothing does
    """

    target: str
    container: str | None = None
    stdin: bool = False
    tty: bool = False
    quiet: bool = False
    patience: float = 60.0
    detach_keys: str | None = None


def add_attach(app: typer.Typer, line: CommandLine) -> None:
    """Add the verb."""

    def attach_verb(
        settings: Settings,
        names: Names = None,
        container: Container = None,
        stdin: Stdin = False,
        tty: Tty = False,
        quiet: Quiet = False,
        patience: Patience = "1m",
        detach_keys: DetachKeys = None,
    ) -> Action:
        """Attach to the main process of a container: see what it writes from now on, and with -i write to it.

        It ends with the process, or with Ctrl-C. There is no exit code of the process: Kubernetes does not tell it.

        \b
        Examples:
          kubex-stream attach demo                                    what it writes
          kubex-stream attach -it demo --detach-keys ctrl-p,ctrl-q    its terminal, and a way out
          kubex-stream attach deploy/web -c app
        """
        line.refuse_words("attach")
        request = AttachRequest(
            target=_target(names or []),
            container=container,
            stdin=stdin,
            tty=tty,
            quiet=quiet,
            patience=parse_duration(patience, "--pod-running-timeout"),
            detach_keys=checked_keys(detach_keys),
        )
        return lambda: run_async(lambda: attach_command(settings, request), settings.backend)

    add_verb(
        app,
        line,
        "attach",
        attach_verb,
        summary="Attach to a container's main process.",
        usage="(POD | TYPE/NAME) [OPTIONS]",
    )


def _target(names: list[str]) -> str:
    if len(names) != 1:
        raise UsageError("name one pod, or another object that has pods: attach POD, attach TYPE/NAME")
    check_target(names[0])
    return names[0]


async def attach_command(settings: Settings, request: AttachRequest) -> int:
    """Attach, with this process's own stdin, stdout and stderr.

    :returns: 0, however the process ended
    """
    tell = teller(quiet=request.quiet)
    async with open_pods(settings, log_for(settings)) as pods:
        pod = await find_target(pods, request.target, request.patience, tell)
        check_phase(pod, "attach to")
        name, container = pod["metadata"]["name"], container_of(pod, choose_container(pod, request.container, tell))
        tty = bool(container.get("tty"))
        if request.tty and not tty:
            tell(f"error: Unable to use a TTY - container {container['name']} did not allocate one")
        if request.stdin and not container.get("stdin"):
            tell(f"container {container['name']} was made without stdin: what you write there is lost")
        if tty and request.stdin and wants_terminal(tell if request.tty else teller(quiet=True)):
            tell("If you don't see a command prompt, try pressing enter.")
            detached = await _interact(pods, name, container["name"], request)
            if detached or (pod["spec"].get("restartPolicy") or "Always") == "Always":
                tell(_ended(pods, name, container["name"], detached=detached))
        else:
            await _watch(pods, name, container["name"], tty=tty, stdin=request.stdin)
    return 0


def _ended(pods: Pods, name: str, container: str, *, detached: bool) -> str:
    again = f"kubex-stream attach {name} -n {pods.namespace} -c {container} -i -t"
    return (
        f"\nDetached; resume with: {again}"
        if detached
        else f"Session ended; once the pod runs again, resume with: {again}"
    )


async def _interact(pods: Pods, name: str, container: str, request: AttachRequest) -> bool:
    result = await pods.attach.interactive(name, container=container, detach_keys=request.detach_keys)
    _logger.info("%s", result.statistics)
    return result.detached


async def _watch(pods: Pods, name: str, container: str, *, tty: bool, stdin: bool) -> None:
    async with (
        LocalOutput(1) as stdout,
        LocalOutput(2) as stderr,
        pods.attach.stream(name, container=container, stdin=stdin, tty=tty) as process,
    ):
        await _converse(process, stdout, None if tty else stderr, stdin=stdin)
    _logger.info("%s", process.statistics)


async def _converse(process: Process, stdout: LocalOutput, stderr: LocalOutput | None, *, stdin: bool) -> None:
    """Carry everything until the attachment ends; whatever fails first is raised as it is."""
    failures: list[Exception] = []
    async with anyio.create_task_group() as tasks:

        async def guarded(work: Callable[[], Awaitable[object]]) -> None:
            try:
                await work()
            except Exception as error:  # noqa: BLE001  # raised again outside of the task group, which would wrap it
                failures.append(error)
                # With an error of the session every other stream ends too, after what has come for it.
                if not isinstance(error, KubexClientException):
                    tasks.cancel_scope.cancel()

        async def feed() -> None:
            if await _feed(process, is_terminal=stderr is None):
                tasks.cancel_scope.cancel()

        async def output() -> None:
            async with anyio.create_task_group() as copies:
                copies.start_soon(guarded, partial(_copy, process.stdout, stdout))
                if stderr is not None:
                    copies.start_soon(guarded, partial(_copy, process.stderr, stderr))
            await process.wait()

        if stdin:
            tasks.start_soon(guarded, feed)
        await guarded(output)
        tasks.cancel_scope.cancel()
    if failures:
        raise failures[0]


async def _copy(stream: OutputStream, target: LocalOutput) -> None:
    async for piece in stream:
        await target.send(piece)


async def _feed(process: Process, *, is_terminal: bool) -> bool:
    """Pass local stdin on.

    :returns: whether its end is the end of all
    """
    async with aclosing(local_input()) as pieces:
        with suppress(StdinBroken):
            async for piece in pieces:
                await process.stdin.send(piece)
    if is_terminal:
        return True
    with suppress(StdinBroken, HalfCloseUnsupported):
        await process.stdin.aclose()
    return False
