"""From an exception to the one line that the user sees, in kubectl's words (kubectl pkg/cmd/util/helpers.go)."""

from __future__ import annotations

import contextlib
import sys

from kubex_stream.cli.usage import UsageError
from kubex_stream.errors import (
    ApiError,
    ConnectionFailed,
    KubexClientException,
    StartError,
    StreamError,
    Unauthorized,
)

__all__ = ("message_of", "reason_of", "say")


def say(text: str) -> None:
    """One line on stderr, as far as anybody reads it."""
    if sys.stderr is not None:
        with contextlib.suppress(OSError):
            sys.stderr.write(f"{text}\n")
            sys.stderr.flush()


def message_of(error: Exception) -> str:
    """What to say about an error."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, Unauthorized):
        return f"error: You must be logged in to the server ({_from_status(error, text)})"
    if isinstance(error, ApiError) and not isinstance(error, StartError) and error.status and error.status.reason:
        return f"Error from server ({error.status.reason}): {_from_status(error, text)}"
    if isinstance(error, ConnectionFailed):
        return f"Unable to connect to the server: {text}"
    if isinstance(error, KubexClientException | UsageError | ImportError | OSError | ValueError):
        return f"error: {text}"
    return f"error: {type(error).__name__}: {text}"


def reason_of(error: Exception) -> str:
    """What to say about an error inside of another sentence."""
    text = message_of(error).removeprefix("error: ")
    counts = error.statistics if isinstance(error, StreamError) else None
    return text if counts is None else text.removesuffix(f" ({counts})")


def _from_status(error: ApiError, text: str) -> str:
    """The server's own words, and what this library adds behind them; without the request's line."""
    words = " ".join(error.status.message.split()) if error.status is not None else ""
    start = text.find(f": {words}") if words else -1
    return text if start < 0 else text[start + 2 :]
