"""``kubex-stream cluster``."""

from __future__ import annotations

import sys

__all__ = ("serve_cluster",)


def serve_cluster() -> int:
    """Run an embedded cluster until a signal ends it."""
    from kubex_stream.testing import EmbeddedCluster, serve

    serve(EmbeddedCluster(), sys.stdout)
    return 0
