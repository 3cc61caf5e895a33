"""``kubex-stream logs``.

Rules of this file:
- stdout has what the containers wrote, byte for byte, and with ``--prefix`` whose it is, as kubectl writes it.  What happens to a log besides,
  as a connection that broke, is told on stderr.
- Logs that are not followed come one after the other; those that are followed come as they come.
- What is followed goes on behind restarts of its container, and ends with the pod; kubectl ends at the first restart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any

import anyio
import typer

from kubex_stream.api.log_stream import LogStream
from kubex_stream.api.pods import Pods
from kubex_stream.api.targets import Target, find_selector, pods_of
from kubex_stream.cli.connection import log_for, open_pods
from kubex_stream.cli.containers import choose_container
from kubex_stream.cli.durations import parse_duration, parse_timeout
from kubex_stream.cli.failures import say
from kubex_stream.cli.finding import check_target
from kubex_stream.cli.local import LocalOutput
from kubex_stream.cli.options import Action, CommandLine, add_verb
from kubex_stream.cli.running import run_async
from kubex_stream.cli.settings import Settings, UsageError
from kubex_stream.cli.shared import Container, Names, Patience
from kubex_stream.errors import ApiError
from kubex_stream.logs.line import LogEvent, LogLine

__all__ = ("add_logs",)

#: Lines of each pod that a selector finds, where ``--tail`` is not given; kubectl's.
_TAIL_OF_MANY = 10

_Follow = Annotated[bool, typer.Option("--follow", "-f", metavar="", help="Go on with what is written from now on.")]
_Previous = Annotated[bool, typer.Option("--previous", "-p", metavar="", help="Of before the last restart.")]
_Tail = Annotated[
    int | None,
    typer.Option(
        "--tail", metavar="N", help="So many lines of the end; -1 for all. With -l, 10 where it is not given."
    ),
]
_Since = Annotated[str, typer.Option("--since", metavar="TIME", help="Nothing older than this, as 30s, 2m, 1h30m.")]
_SinceTime = Annotated[
    str | None, typer.Option("--since-time", metavar="TIME", help="Nothing older, as 2026-03-01T08:15:30Z.")
]
_LimitBytes = Annotated[int, typer.Option("--limit-bytes", metavar="N", help="Not more than this of each; 0 for all.")]
_Timestamps = Annotated[bool, typer.Option("--timestamps", metavar="", help="Begin each line with its time.")]
_All = Annotated[bool, typer.Option("--all-containers", metavar="", help="All containers of a pod.")]
_AllPods = Annotated[bool, typer.Option("--all-pods", metavar="", help="All pods of TYPE/NAME, with --prefix.")]
_Prefix = Annotated[bool, typer.Option("--prefix", metavar="", help="Begin each line with its pod and container.")]
_Selector = Annotated[str | None, typer.Option("--selector", "-l", metavar="LABELS", help="Of pods, as app=web.")]
_Most = Annotated[int, typer.Option("--max-log-requests", metavar="N", help="Follow so many logs at once at most.")]
_IgnoreErrors = Annotated[bool, typer.Option("--ignore-errors", metavar="", help="Go on when one of the logs fails.")]


@dataclass(frozen=True, slots=True)
class LogsRequest:
    """What ``logs`` is to do.

    :ivar target: as ``web-0``, ``deploy/web``; None with ``selector``
    :ivar given: for :meth:`~kubex_stream.api.logs.Logs.stream`
    """

    target: str | None
    selector: str | None
    container: str | None
    all_pods: bool
    prefix: bool
    given: dict[str, Any] = field(default_factory=dict)


def add_logs(app: typer.Typer, line: CommandLine) -> None:
    """Add the verb."""

    def logs_verb(
        settings: Settings,
        names: Names = None,
        container: Container = None,
        follow: _Follow = False,
        previous: _Previous = False,
        tail: _Tail = None,
        since: _Since = "0",
        since_time: _SinceTime = None,
        limit_bytes: _LimitBytes = 0,
        timestamps: _Timestamps = False,
        all_containers: _All = False,
        all_pods: _AllPods = False,
        prefix: _Prefix = False,
        selector: _Selector = None,
        most: _Most = 5,
        ignore_errors: _IgnoreErrors = False,
        patience: Patience = "1m",
    ) -> Action:
        """Show what containers have written, and with -f what they write.

        Of a pod, of a pod of TYPE/NAME, or of all pods with some labels. What is followed goes on through connections that break and
        containers that restart.

        \b
        Examples:
          kubex-stream logs demo --tail 20
          kubex-stream logs -f deploy/web -c app
          kubex-stream logs -f -l app=web --all-containers --prefix
          kubex-stream logs demo -p                            before the last restart
        """
        line.refuse_words("logs")
        target, container = _named(names or (), selector, container)
        given = {
            "follow": follow and not previous,
            "previous": previous,
            "tail": _tail(tail, selector),
            "since": _since(since, since_time),
            "limit_bytes": limit_bytes or None,
            "timestamps": timestamps,
            "all_containers": all_containers,
            "max_requests": most if follow else 1,
            "ignore_errors": ignore_errors,
            "start_timeout": parse_duration(patience, "--pod-running-timeout"),
        }
        if most < 1:
            raise UsageError("--max-log-requests must be higher than zero")
        if limit_bytes < 0:
            raise UsageError("--limit-bytes must be greater than 0")
        request = LogsRequest(target, selector, container, all_pods, prefix or all_pods, given)
        return lambda: run_async(lambda: logs_command(settings, request), settings.backend)

    add_verb(
        app,
        line,
        "logs",
        logs_verb,
        summary="Show what containers write.",
        usage="(POD | TYPE/NAME | -l LABELS) [CONTAINER] [OPTIONS]",
    )


def _named(names: Sequence[str], selector: str | None, container: str | None) -> tuple[str | None, str | None]:
    if selector is not None:
        if names:
            raise UsageError("only a selector (-l) or a POD name is allowed")
        return None, container
    if not names or len(names) > 2:
        raise UsageError(
            "name a pod, another object that has pods, or labels: logs POD, logs TYPE/NAME, logs -l LABELS"
        )
    if len(names) == 2 and container is not None:
        raise UsageError("only one of -c or a second argument names the container")
    check_target(names[0])
    return names[0], container if len(names) == 1 else names[1]


def _tail(tail: int | None, selector: str | None) -> int | None:
    if tail is None:
        return _TAIL_OF_MANY if selector is not None else None
    if tail < -1:
        raise UsageError("--tail must be greater than or equal to -1")
    return None if tail == -1 else tail


def _since(since: str, since_time: str | None) -> float | datetime | None:
    seconds = parse_timeout(since, "--since")
    if since_time is None:
        return seconds or None
    if seconds:
        raise UsageError("at most one of --since and --since-time may be given")
    try:
        moment = datetime.fromisoformat(since_time)
    except ValueError:
        moment = datetime.min
    if moment.tzinfo is None:
        raise UsageError(f"--since-time takes a time as 2026-03-01T08:15:30Z, not {since_time!r}")
    return moment


async def logs_command(settings: Settings, request: LogsRequest) -> int:
    """Write the logs to stdout, until they end.

    :returns: 0
    """
    async with open_pods(settings, log_for(settings)) as pods:
        stream = await _stream(pods, request)
        if stream is None:
            return 0
        try:
            async with LocalOutput(1) as output, stream:
                await _write(stream, output, prefix=request.prefix)
        except ValueError as error:
            raise UsageError(str(error).replace("max_requests", "--max-log-requests")) from error
    return 0


async def _stream(pods: Pods, request: LogsRequest) -> LogStream[LogLine[bytes]] | None:
    name, selector = request.target, request.selector
    if request.target is not None:
        target = Target.parse(request.target, pods.namespace)
        if request.all_pods and target.kind != "pod":
            name, selector = None, await find_selector(pods.client, target)
        elif target.kind != "pod":
            name = await _pod_of(pods, target)
        else:
            name = target.name
    if selector is not None and not await pods.list(label_selector=selector):
        say(f"No resources found in {pods.namespace} namespace.")
        return None

    def chosen(pod: Mapping[str, Any]) -> str:
        return choose_container(pod, request.container, say)

    container = None if request.given["all_containers"] else chosen
    return pods.logs.stream(name, label_selector=selector, container=container, on_event=_tell, **request.given)


async def _pod_of(pods: Pods, target: Target) -> str:
    found = await pods_of(pods.client, target)
    if not found:
        raise ApiError(f"{target} has no pods", status_code=404)
    name = str(found[0]["metadata"]["name"])
    if len(found) > 1:
        say(f"Found {len(found)} pods, using pod/{name}")
    return name


def _tell(event: LogEvent) -> None:
    if event.kind != "ended":
        say(f"{event.source}: {event.message}")


async def _write(stream: LogStream[LogLine[bytes]], output: LocalOutput, *, prefix: bool) -> None:
    while True:
        try:
            lines = await stream.receive_many()
        except anyio.EndOfStream:
            return
        written = bytearray()
        for line in lines:
            if prefix:
                written += f"[pod/{line.pod}/{line.container}] ".encode()
            written += line.data
            if line.complete:
                written += b"\n"
        await output.send(bytes(written))
