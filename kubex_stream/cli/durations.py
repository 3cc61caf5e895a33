"""Durations as kubectl takes them, which are Go's: ``90s``, ``1m30s``, ``1.5h``."""

from __future__ import annotations

import re
from typing import Final

from kubex_stream.cli.usage import UsageError

__all__ = ("parse_duration", "parse_timeout")

_UNITS: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_NUMBER: Final = re.compile(r"\d+(\.\d+)?", re.ASCII)
_PART: Final = re.compile(r"(\d{1,9}(?:\.\d{0,9})?|\.\d{1,9})(ns|us|µs|ms|s|m|h)", re.ASCII)


def parse_duration(text: str, option: str) -> float:
    """``text`` in seconds.  A number without a unit is one of seconds.

    :param option: its name, for the error
    :raises UsageError: it is none, or not higher than zero
    """
    seconds = parse_timeout(text, option)
    if seconds <= 0:
        raise UsageError(f"{option} must be higher than zero")
    return seconds


def parse_timeout(text: str, option: str) -> float:
    """As :func:`parse_duration`, and zero is a number too.

    :raises UsageError: it is none
    """
    written = f"{text}s" if _NUMBER.fullmatch(text) else text
    parts = _PART.findall(written)
    if not parts or "".join(number + unit for number, unit in parts) != written:
        raise UsageError(f"{option} takes a time as 30s, 2m or 1m30s, not {text!r}")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)
