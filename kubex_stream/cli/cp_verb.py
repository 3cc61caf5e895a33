"""``kubex-stream cp`` on the command line; what it does is in :mod:`kubex_stream.cli.cp`."""

from __future__ import annotations

from typing import Annotated

import typer

from kubex_stream.cli.completion import complete_pod_files
from kubex_stream.cli.cp import CpRequest, cp_command, parse_files
from kubex_stream.cli.options import Action, CommandLine, add_verb
from kubex_stream.cli.running import run_async
from kubex_stream.cli.settings import Settings, UsageError
from kubex_stream.cli.shared import Container

__all__ = ("add_cp",)

_Files = Annotated[list[str] | None, typer.Argument(hidden=True, metavar="", autocompletion=complete_pod_files)]
_NoPreserve = Annotated[
    bool,
    typer.Option("--no-preserve", metavar="", help="Give what is copied the modes, times and owners of new files."),
]
_Retries = Annotated[
    int,
    typer.Option("--retries", metavar="N", help="Go on so many times after a connection that broke; -1 for ever."),
]
_Checksum = Annotated[
    bool, typer.Option("--checksum", metavar="", help="Compare SHA-256 digests of both sides afterwards.")
]
_Progress = Annotated[
    bool | None,
    typer.Option(
        "--progress/--no-progress", metavar="", show_default=False,
        help="Draw a bar on stderr; without either, where stderr is a terminal.",
    ),
]  # fmt: skip


def add_cp(app: typer.Typer, line: CommandLine) -> None:
    """Add the verb."""

    def cp_verb(
        settings: Settings,
        names: _Files = None,
        container: Container = None,
        no_preserve: _NoPreserve = False,
        retries: _Retries = 0,
        checksum: _Checksum = False,
        progress: _Progress = None,
    ) -> Action:
        """Copy files and directories to a container, or from one. The container needs tar.

        One of the two is in a container: POD:PATH or NAMESPACE/POD:PATH. A dash is a tar archive on stdin or stdout.

        \b
        Examples:
          kubex-stream cp site demo:/srv               a directory into /srv
          kubex-stream cp shop/web-0:/var/log logs     out of a pod of another namespace
          kubex-stream cp --retries 5 --checksum demo:/data/big.img .
          kubex-stream cp demo:/etc - | tar t          an archive
        """
        line.refuse_words("cp")
        if not names or len(names) != 2:
            raise UsageError("name a source and a target, as in: kubex-stream cp file demo:/tmp")
        request = CpRequest(
            source=names[0],
            target=names[1],
            container=container,
            preserve=not no_preserve,
            retries=retries,
            checksum=checksum,
            progress=progress,
        )
        parse_files(request)
        return lambda: run_async(lambda: cp_command(settings, request), settings.backend)

    add_verb(app, line, "cp", cp_verb, summary="Copy files to and from a container.", usage="SOURCE TARGET [OPTIONS]")
