"""``kubex-stream backends``."""

from __future__ import annotations

import sys

import typer

from kubex_stream.cli.options import Action, CommandLine, add_verb
from kubex_stream.cli.settings import Settings
from kubex_stream.client.registry import BackendInfo, backends

__all__ = ("add_backends", "list_backends")


def add_backends(app: typer.Typer, line: CommandLine) -> None:
    """Add the verb."""

    def backends_verb(settings: Settings) -> Action:
        """List the backends: which can be used here, and what to install for the others."""
        del settings
        line.refuse_words("backends")
        return list_backends

    add_verb(app, line, "backends", backends_verb, summary="List the backends.", takes=("verbosity",))


def list_backends() -> int:
    """Print every backend, best first, and whether it can be used here."""
    rows = [("NAME", "AVAILABLE", "EVENT LOOPS", ""), *(_row(info) for info in backends())]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for *cells, note in rows:
        padded = "   ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        sys.stdout.write(f"{padded}   {note}".rstrip() + "\n")
    sys.stdout.flush()
    return 0


def _row(info: BackendInfo) -> tuple[str, str, str, str]:
    if info.problem is not None:
        return (info.name, "no", "-", info.problem)
    return (info.name, "yes", ", ".join(sorted(info.event_loops)), "")
