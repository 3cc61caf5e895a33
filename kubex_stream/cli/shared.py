"""What several verbs have in common: their options, declared once, and what they say about a terminal."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Annotated

import typer

from kubex_stream.cli.completion import complete_containers, complete_targets
from kubex_stream.cli.failures import say
from kubex_stream.cli.usage import UsageError
from kubex_stream.terminal.keys import parse_keys

__all__ = (
    "Container",
    "DetachKeys",
    "Names",
    "Patience",
    "Quiet",
    "Stdin",
    "Tty",
    "checked_keys",
    "teller",
    "wants_terminal",
)

Names = Annotated[list[str] | None, typer.Argument(hidden=True, metavar="", autocompletion=complete_targets)]
Container = Annotated[
    str | None,
    typer.Option(
        "--container", "-c", metavar="NAME", autocompletion=complete_containers,
        help="Use this container instead of the pod's default one: the annotated one, else the first.",
    ),
]  # fmt: skip
Stdin = Annotated[
    bool, typer.Option("--stdin", "-i", metavar="", help="Pass local stdin, and its end, to the container.")
]
Tty = Annotated[
    bool, typer.Option("--tty", "-t", metavar="", help="Run it on a terminal. Needs -i, and a terminal as local stdin.")
]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", metavar="", help="Say nothing but what comes from the container.")
]
Patience = Annotated[
    str,
    typer.Option("--pod-running-timeout", metavar="TIME", help="Wait this long for a pod to run, as 30s, 2m, 1m30s."),
]
DetachKeys = Annotated[
    str | None,
    typer.Option(
        "--detach-keys", metavar="KEYS", help="With -it, leave with these keys, as ctrl-p,ctrl-q; what runs goes on."
    ),
]


def checked_keys(keys: str | None) -> str | None:
    """``--detach-keys``.

    :raises UsageError: they are none
    """
    if keys is not None:
        try:
            parse_keys(keys)
        except ValueError as error:
            raise UsageError(f"--{str(error).replace('_', '-', 1)}") from None
    return keys


def teller(*, quiet: bool) -> Callable[[str], object]:
    """What says a line on stderr, or keeps it to itself."""
    return _say_nothing if quiet else say


def _say_nothing(text: str) -> None:
    del text


def wants_terminal(tell: Callable[[str], object]) -> bool:
    """Whether local stdin is a terminal; where it is not, that is told in kubectl's words, and everything goes on without one."""
    if os.isatty(0):
        return True
    tell("Unable to use a TTY - input is not a terminal or the right kind of file")
    return False
