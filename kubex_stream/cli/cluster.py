"""``kubex-stream cluster``."""

from __future__ import annotations

import sys

import typer

from kubex_stream.cli.options import Action, CommandLine, add_verb
from kubex_stream.cli.settings import Settings

__all__ = ("add_cluster", "serve_cluster")


def add_cluster(app: typer.Typer, line: CommandLine) -> None:
    """Add the verb."""

    def cluster_verb(settings: Settings) -> Action:
        """Run an embedded cluster until Ctrl-C; the first line on stdout is its kubeconfig's path.

        It needs no Kubernetes: its pod `demo` runs commands on this machine, as you, without isolation.
        """
        del settings
        line.refuse_words("cluster")
        return serve_cluster

    add_verb(app, line, "cluster", cluster_verb, summary="Run an embedded cluster until Ctrl-C.", takes=("verbosity",))


def serve_cluster() -> int:
    """Run an embedded cluster until a signal ends it."""
    from kubex_stream.testing import EmbeddedCluster, serve

    serve(EmbeddedCluster(), sys.stdout)
    return 0
