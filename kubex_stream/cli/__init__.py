"""The ``kubex-stream`` command.

Rules of this package: words, messages and exit codes are kubectl's; payload goes to the file descriptors as bytes, untouched; whatever the
library raises becomes one line on stderr.  The parser's library is optional, so nothing imports it before :func:`main` has looked for it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ("main",)

#: What a shell reports of a program that SIGINT ended.
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    :param arguments: instead of those of this process
    :returns: the exit code: the remote process's for ``exec``, 1 for an error, 130 after Ctrl-C
    """
    try:
        import typer
    except ModuleNotFoundError as error:
        if error.name != "typer":
            raise
        sys.stderr.write("kubex-stream: the command needs one more package: pip install 'kubex-stream[cli]'\n")
        return 1
    del typer
    try:
        from kubex_stream.cli.app import run

        return run(sys.argv[1:] if arguments is None else arguments)
    except KeyboardInterrupt:
        return INTERRUPTED
