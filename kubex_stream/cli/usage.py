"""The one error that is the user's own."""

from __future__ import annotations

__all__ = ("UsageError",)


class UsageError(Exception):
    """The command line makes no sense; the text says why."""
