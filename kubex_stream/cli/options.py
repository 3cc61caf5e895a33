"""From one declaration of the global options to a parser that takes them before and behind every verb.

Rules of this file:
- A verb is a function of its settings and of its own options; it gives what is to be done.  Nothing is done while the parser runs, so a
  remote exit code is never mistaken for one of the parser's, and none of its handlers stands between an error and the user.
- The parser reads a function's signature.  The global options get into it by joining the fields of :class:`Settings` to it.
"""

from __future__ import annotations

import copy
import inspect
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import fields
from typing import Annotated, Any, Concatenate, Final, ParamSpec, Protocol, get_args, get_type_hints

import typer
from typer.core import TyperCommand, TyperGroup

from kubex_stream.cli.settings import COMMON, Settings, UsageError

__all__ = ("ALL", "Action", "CommandLine", "GroupHelp", "add_global_options", "add_verb", "wants_colour")

#: What a verb does, and its exit code.
Action = Callable[[], int]
_P = ParamSpec("_P")

#: Every global option.
ALL: Final = tuple(each.name for each in fields(Settings))
_MORE: Final = "All global options: kubex-stream --help"


class CommandLine:
    """One command line while it is parsed.

    :ivar words: what came after ``--``, which no parser may touch; None where there was no ``--``
    :ivar settings: the global options
    :ivar action: what to do; None where the parser has answered already
    """

    def __init__(self, arguments: Sequence[str]) -> None:
        before = list(arguments)
        self.words: tuple[str, ...] | None = None
        if "--" in before:
            place = before.index("--")
            self.words = tuple(before[place + 1 :])
            del before[place:]
        self.arguments = before
        self.settings = Settings()
        self.action: Action | None = None

    def refuse_words(self, verb: str) -> None:
        """For verbs that take no command.

        :raises UsageError: there is one
        """
        if self.words:
            raise UsageError(f"{verb} takes no command")


def wants_colour() -> bool:
    """Whether both outputs are a terminal that draws: help and the parser's errors are plain text everywhere else."""
    return all(stream is not None and stream.isatty() for stream in (sys.stdout, sys.stderr))


def add_global_options(app: typer.Typer, line: CommandLine, text: str, *own: inspect.Parameter) -> None:
    """Take the global options before the verb.

    :param text: the help of the whole command
    :param own: options of the command itself
    """

    def options(**given: Any) -> None:
        line.settings = Settings(**{name: given[name] for name in ALL})

    _declare(options, [*own, *_parameters(ALL, hide=False)])
    app.callback(help=text)(options)


def add_verb(
    app: typer.Typer,
    line: CommandLine,
    name: str,
    function: Callable[Concatenate[Settings, _P], Action],
    *,
    summary: str,
    usage: str = "[OPTIONS]",
    takes: Sequence[str] = ALL,
) -> None:
    """Add a verb.

    :param function: gets the settings and its own options, which its signature declares as the parser wants them; its docstring is the help
    :param summary: a few words for the list of verbs
    :param usage: what follows the verb
    :param takes: the global options that may stand behind the verb
    """

    def verb(**given: Any) -> None:
        behind = Settings(**{each: given.pop(each) for each in takes})
        line.settings = behind.over(line.settings)
        if takes == ALL:
            line.settings.check()
        line.action = function(line.settings, **given)  # type: ignore[call-arg]

    _, *own = inspect.signature(function, eval_str=True).parameters.values()
    _declare(verb, [*own, *_parameters(takes, hide=True)])
    app.command(
        name,
        cls=_Verb,
        help=inspect.getdoc(function),
        short_help=summary,
        options_metavar=usage,
        epilog=_MORE if takes == ALL else None,
    )(verb)


def _declare(function: Callable[..., None], parameters: Sequence[inspect.Parameter]) -> None:
    keyword_only = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in parameters]
    function.__annotations__ = {}
    function.__signature__ = inspect.Signature(keyword_only)  # type: ignore[attr-defined]


def _parameters(names: Sequence[str], *, hide: bool) -> list[inspect.Parameter]:
    """Fields of the settings as parameters.

    :param hide: show those of the panel :data:`COMMON` only
    """
    hints = get_type_hints(Settings, include_extras=True)
    found = []
    for each in fields(Settings):
        if each.name in names:
            kind, declared = get_args(hints[each.name])
            option = copy.copy(declared)
            option.hidden = hide and option.rich_help_panel != COMMON
            annotation = Annotated[kind, option]  # type: ignore[valid-type]
            found.append(
                inspect.Parameter(
                    each.name, inspect.Parameter.KEYWORD_ONLY, default=each.default, annotation=annotation
                )
            )
    return found


# Help ------------------------------------------------------------------------------------------------------------------


class _Formatter(Protocol):
    """What of the parser's help formatter is used here."""

    def section(self, name: str) -> AbstractContextManager[None]: ...

    def write_dl(self, rows: Sequence[tuple[str, str]]) -> None: ...


class _Verb(TyperCommand):
    """A verb whose options are in groups also where help is plain text, and whose usage is what it says itself."""

    def collect_usage_pieces(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]  # noqa: ARG002
        return [self.options_metavar or ""]

    def format_options(self, ctx: typer.Context, formatter: _Formatter) -> None:  # type: ignore[override]
        _format_options(self, ctx, formatter)


class GroupHelp(TyperGroup):
    """The same for the command as a whole."""

    def format_options(self, ctx: typer.Context, formatter: _Formatter) -> None:  # type: ignore[override]
        self.format_commands(ctx, formatter)  # type: ignore[arg-type]
        _format_options(self, ctx, formatter)


def _format_options(command: TyperCommand | TyperGroup, ctx: typer.Context, formatter: _Formatter) -> None:
    groups: dict[str, list[tuple[str, str]]] = {}
    for param in command.get_params(ctx):
        record = param.get_help_record(ctx)
        if record is not None:
            groups.setdefault(getattr(param, "rich_help_panel", None) or "Options", []).append(record)
    for title in sorted(groups, key=lambda title: title != "Options"):
        with formatter.section(title):
            formatter.write_dl(groups[title])
