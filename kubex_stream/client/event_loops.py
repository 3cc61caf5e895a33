"""Which event loop is running."""

from __future__ import annotations

import asyncio
import sys

__all__ = ("running_event_loop",)


def running_event_loop() -> str | None:
    """``"asyncio"`` or ``"trio"`` when called from inside one, None outside."""
    trio = sys.modules.get("trio")
    if trio is not None and trio.lowlevel.in_trio_run() and trio.lowlevel.in_trio_task():
        return "trio"
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return None
    return "asyncio"
