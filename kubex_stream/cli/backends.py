"""``kubex-stream backends``."""

from __future__ import annotations

import sys

from kubex_stream.client.registry import BackendInfo, backends

__all__ = ("list_backends",)


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
