"""What a user of an embedded cluster does to it besides adding and removing."""

from __future__ import annotations

from kubex_stream.testing.log_streams import LogControls
from kubex_stream.testing.watches import WatchControls

__all__ = ("Controls",)


class Controls(LogControls, WatchControls):
    """All of it."""
