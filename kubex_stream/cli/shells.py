"""``kubex-stream completion``."""

from __future__ import annotations

import os
from typing import Annotated, Final

import typer

from kubex_stream.cli.completion import COMPLETION_VARIABLE, prepare
from kubex_stream.cli.options import Action, CommandLine, add_verb
from kubex_stream.cli.settings import Settings, UsageError

__all__ = ("add_completion",)

SHELLS: Final = ("bash", "zsh", "fish", "powershell")
_Shell = Annotated[str | None, typer.Argument(hidden=True, autocompletion=lambda: list(SHELLS))]


def add_completion(app: typer.Typer, line: CommandLine) -> None:
    """Add the verb."""

    def completion_verb(settings: Settings, shell: _Shell = None) -> Action:
        """Print the script that lets a shell complete verbs, options and names.

        Names of contexts, namespaces, pods and containers are asked for at the moment.

        \b
        Examples:
          source <(kubex-stream completion bash)                    bash, this session; in ~/.bashrc for all
          kubex-stream completion zsh > "${fpath[1]}/_kubex-stream"
          kubex-stream completion fish > ~/.config/fish/completions/kubex-stream.fish
        """
        del settings
        line.refuse_words("completion")
        if shell not in SHELLS:
            raise UsageError(f"name the shell, one of {', '.join(SHELLS)}")
        return lambda: _print_script(app, shell)

    add_verb(
        app, line, "completion", completion_verb, summary="Print a shell's completion script.", takes=("verbosity",),
        usage="bash|zsh|fish|powershell",
    )  # fmt: skip


def _print_script(app: typer.Typer, shell: str) -> int:
    """The parser's library has the scripts, and gives them to a process that is asked for one by its environment."""
    prepare()
    os.environ[COMPLETION_VARIABLE] = f"source_{shell}"
    try:
        app(args=[], prog_name="kubex-stream")
    except SystemExit as end:
        return int(end.code or 0)
    finally:
        del os.environ[COMPLETION_VARIABLE]
    return 0
