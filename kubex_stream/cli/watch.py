"""``kubex-stream watch``.

Rules of this file: stdout has the events and nothing else; a connection that broke and is made again is told on stderr.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import typer

from kubex_stream.api.discovery import Discovery, ResourceType
from kubex_stream.api.pods import Pods
from kubex_stream.api.watch import Watch, WatchEvent, WatchStream
from kubex_stream.cli.connection import log_for, open_pods
from kubex_stream.cli.durations import parse_duration
from kubex_stream.cli.local import LocalOutput
from kubex_stream.cli.options import Action, CommandLine, add_verb
from kubex_stream.cli.running import run_async
from kubex_stream.cli.settings import Settings, UsageError
from kubex_stream.cli.watch_table import ACCEPT, EventTable

__all__ = ("add_watch",)

_Words = Annotated[list[str] | None, typer.Argument(hidden=True, metavar="")]
_Selector = Annotated[str | None, typer.Option("--selector", "-l", metavar="LABELS", help="Only these, as app=web.")]
_Fields = Annotated[
    str | None, typer.Option("--field-selector", metavar="FIELDS", help="Only these, as status.phase=Running.")
]
_Everywhere = Annotated[bool, typer.Option("--all-namespaces", "-A", metavar="", help="Of every namespace.")]
_Output = Annotated[str, typer.Option("--output", "-o", metavar="FORMAT", help="table, wide, json or name.")]
_Version = Annotated[
    str | None,
    typer.Option("--resource-version", metavar="N", help="Go on from here, without the objects that are there."),
]
_Only = Annotated[bool, typer.Option("--watch-only", metavar="", help="Leave out the objects that are there already.")]
_For = Annotated[str | None, typer.Option("--timeout", metavar="TIME", help="End after this time, as 30s, 2m, 1h.")]
_FORMATS = ("table", "wide", "json", "name")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    resource: str
    name: str | None
    labels: str | None
    fields: str | None
    everywhere: bool
    output: Literal["table", "wide", "json", "name"]
    version: str | None
    only_changes: bool
    seconds: float | None


def add_watch(app: typer.Typer, line: CommandLine) -> None:
    """Add the verb."""

    def watch_verb(
        settings: Settings,
        words: _Words = None,
        labels: _Selector = None,
        fields: _Fields = None,
        everywhere: _Everywhere = False,
        output: _Output = "table",
        version: _Version = None,
        only_changes: _Only = False,
        timeout: _For = None,
    ) -> Action:
        """Show what happens to the objects of a resource, until Ctrl-C.

        The resource is named as kubectl takes it: pods, po, deployments.apps. It goes on through broken connections and restarts of the API
        server, and tells what changed meanwhile.

        \b
        Examples:
          kubex-stream watch pods
          kubex-stream watch deploy web -n shop
          kubex-stream watch cm -A -l app=web -o json
          kubex-stream watch pods --watch-only --timeout 10m
        """
        line.refuse_words("watch")
        resource, name = _names(words or [])
        if output not in _FORMATS:
            raise UsageError(f"--output is table, wide, json or name, not {output!r}")
        request = _Request(
            resource=resource,
            name=name,
            labels=labels,
            fields=fields,
            everywhere=everywhere,
            output=output,  # type: ignore[arg-type]
            version=version,
            only_changes=only_changes,
            seconds=None if timeout is None else parse_duration(timeout, "--timeout"),
        )
        return lambda: run_async(lambda: _watch(settings, request), settings.backend)

    add_verb(
        app,
        line,
        "watch",
        watch_verb,
        summary="Show what happens to the objects of a resource.",
        usage="RESOURCE [NAME] [OPTIONS]",
    )


def _names(words: list[str]) -> tuple[str, str | None]:
    if len(words) == 1 and words[0].count("/") == 1 and not words[0].startswith("/"):
        words = words[0].split("/")
    if not words or not all(words):
        raise UsageError("name a resource: watch pods, watch deployments.apps")
    if len(words) > 2:
        raise UsageError("watch takes one resource, and one name or none; -l chooses several objects")
    return words[0], words[1] if len(words) == 2 else None


class _Printer:
    """Events as what is to be written."""

    def __init__(self, request: _Request) -> None:
        self.as_table = request.output in ("table", "wide")
        self._request = request
        self._table = EventTable(namespaces=request.everywhere, wide=request.output == "wide")

    def written(self, *events: WatchEvent[dict[str, Any]]) -> bytes:
        """What is to be written about events."""
        lines = self._table.lines(events) if self.as_table else [self._line(event) for event in events]
        return "".join(f"{line}\n" for line in lines).encode("utf-8", "replace")

    def _line(self, event: WatchEvent[dict[str, Any]]) -> str:
        if self._request.output == "json":
            return json.dumps({"type": event.type, "object": event.raw_object}, ensure_ascii=False)
        return f"{event.type} {event.raw_object['metadata']['name']}"


async def _watch(settings: Settings, request: _Request) -> int:
    async with open_pods(settings, log_for(settings)) as pods:
        printer = _Printer(request)
        resource, where = await _place(pods, request)
        stream = Watch(pods.client).stream(
            resource,
            **where,
            name=request.name,
            label_selector=request.labels,
            field_selector=request.fields,
            resource_version=request.version,
            timeout=request.seconds,
            headers={"Accept": ACCEPT} if printer.as_table else {},
            # Not every server's bookmarks survive becoming a Table.
            initial="list" if printer.as_table else "auto",
        )
        async with LocalOutput(1) as output, stream as events:
            await _show(events, printer, output, request)
    return 0


async def _place(pods: Pods, request: _Request) -> tuple[str | ResourceType, dict[str, Any]]:
    """What to watch, and in which namespace."""
    if request.resource.startswith("/"):
        return request.resource, {}
    found = await Discovery.of(pods.client).resolve(request.resource)
    if request.everywhere or not found.namespaced:
        return found, {"all_namespaces": request.everywhere}
    return found, {"namespace": pods.namespace}


async def _show(events: WatchStream[dict[str, Any]], printer: _Printer, output: LocalOutput, request: _Request) -> None:
    begun = await events.initial_state()
    if not request.only_changes:
        await output.send(printer.written(*begun))
    async for event in events:
        await output.send(printer.written(event))
