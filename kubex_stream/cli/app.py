"""The command line: its verbs, and from its words to an exit code."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Annotated, Final

import typer

from kubex_stream import __version__
from kubex_stream.cli.attach import add_attach
from kubex_stream.cli.backends import add_backends
from kubex_stream.cli.cluster import add_cluster
from kubex_stream.cli.completion import is_completion, prepare, quiet
from kubex_stream.cli.cp_verb import add_cp
from kubex_stream.cli.exec import add_exec
from kubex_stream.cli.failures import say
from kubex_stream.cli.logs import add_logs
from kubex_stream.cli.options import CommandLine, GroupHelp, add_global_options, wants_colour
from kubex_stream.cli.portforward import add_port_forward
from kubex_stream.cli.running import FAILED, guarded
from kubex_stream.cli.shells import add_completion
from kubex_stream.cli.usage import UsageError
from kubex_stream.cli.watch import add_watch

__all__ = ("run",)

_NAME: Final = "kubex-stream"
_HELP: Final = """Kubernetes exec, attach, port-forward, cp, logs and watch over the network library of your choice.

The options below may stand before or after the verb.

\b
Examples:
  kubex-stream --embedded exec demo -- echo hello     no Kubernetes needed
  kubex-stream exec -it demo -- bash
  kubex-stream port-forward svc/web 8080:80
  kubex-stream cp shop/web-0:/var/log logs
  source <(kubex-stream completion bash)
"""


def run(arguments: Sequence[str]) -> int:
    """Do what ``arguments`` say.

    :returns: the exit code
    """
    line = CommandLine(arguments)
    if is_completion():
        quiet()
        prepare()
    try:
        if line.words and not line.arguments:
            raise UsageError("name the verb before the --, as in exec demo -- date")
        _application(line)(args=line.arguments or ["--help"], prog_name=_NAME)
    except SystemExit as end:
        if line.action is None:
            return FAILED if end.code else 0  # as kubectl's, where the parser's is 2
    except (UsageError, ValueError) as error:
        say(f"error: {error}")
        return FAILED
    return guarded(line.action, line.settings.verbosity) if line.action is not None else 0


def _application(line: CommandLine) -> typer.Typer:
    app = typer.Typer(
        cls=GroupHelp,
        add_completion=False,
        rich_markup_mode="rich" if wants_colour() else None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        subcommand_metavar="VERB ...",
    )
    add_global_options(app, line, _HELP, _version())
    add_exec(app, line)
    add_attach(app, line)
    add_port_forward(app, line)
    add_cp(app, line)
    add_logs(app, line)
    add_watch(app, line)
    add_cluster(app, line)
    add_backends(app, line)
    add_completion(app, line)
    return app


def _version() -> inspect.Parameter:
    option = typer.Option(
        "--version", metavar="", callback=_show_version, is_eager=True, help="Tell the version and end."
    )
    return inspect.Parameter(
        "version", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Annotated[bool, option]
    )


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"{_NAME} {__version__}")
        raise typer.Exit
