"""The Status: what the server says of a failed request, and of how a process ended.

Rules of this file: the decisions are those of client-go's errorDecoderV4 (tools/remotecommand/v4.go), in its order; a Status that is
slightly off (a missing message, extra keys, wrong types) loses nothing that can be read; nothing here raises for what a peer sent.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

__all__ = (
    "MAX_STATUS_SIZE",
    "Cause",
    "Ending",
    "Exited",
    "Failed",
    "Garbled",
    "Status",
    "decode_ending",
    "parse_status",
)

#: Channel 3 is cut off here; a real Status is a few hundred bytes, or the length of a command line on v4.
MAX_STATUS_SIZE: Final = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Cause:
    """One entry of ``details.causes``; on the wire the type is called ``reason``."""

    reason: str = ""
    message: str = field(default="", repr=False)
    field: str = ""


@dataclass(frozen=True, slots=True)
class Status:
    """A ``meta/v1`` Status.  Its repr leaves the message out, which on v4 repeats the command line.

    :ivar status: ``Success`` or ``Failure``
    :ivar message: for people
    :ivar reason: for programs, as ``NonZeroExitCode``, ``NotFound``, ``InternalError``
    :ivar code: the HTTP code, 0 when the Status has none
    :ivar causes: ``details.causes``; empty when there are none
    :ivar details: whether there were details at all
    :ivar retry_after: ``details.retryAfterSeconds``, None when there is none
    """

    status: str = ""
    message: str = field(default="", repr=False)
    reason: str = ""
    code: int = 0
    causes: tuple[Cause, ...] = ()
    details: bool = False
    retry_after: float | None = None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Exited:
    """The process ended with this code: 128 + n where signal n ended it."""

    code: int


@dataclass(frozen=True, slots=True)
class Failed:
    """It did not start, or the runtime gave it up."""

    message: str


@dataclass(frozen=True, slots=True)
class Garbled:
    """Channel 3 said something, but nothing that tells how the process ended."""

    message: str


Ending = Exited | Failed | Garbled


def _text(value: object) -> str:
    return value if isinstance(value, str) else "" if value is None else json.dumps(value)


def _number(value: object) -> float | None:
    # Python's JSON knows NaN and infinities, which are no code and no time.
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _causes(value: object) -> tuple[Cause, ...]:
    entries = [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []
    return tuple(
        Cause(reason=_text(e.get("reason")), message=_text(e.get("message")), field=_text(e.get("field")))
        for e in entries
    )


def parse_status(raw: bytes | bytearray | str) -> Status | None:
    """The Status in ``raw``; None unless it is a JSON object that looks like one (a ``status`` or ``kind: Status``)."""
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or not ("status" in value or value.get("kind") == "Status"):
        return None
    if not isinstance(value.get("status", ""), str):
        return None  # a pod, say: its status is an object
    details = value.get("details")
    known = details if isinstance(details, dict) else {}
    return Status(
        status=_text(value.get("status")),
        message=_text(value.get("message")),
        reason=_text(value.get("reason")),
        code=int(_number(value.get("code")) or 0),
        causes=_causes(known.get("causes")),
        details=isinstance(details, dict),
        retry_after=_number(known.get("retryAfterSeconds")),
        raw=value,
    )


def decode_ending(raw: bytes | bytearray, *, json_status: bool = True) -> tuple[Ending, Status | None]:
    """What channel 3 said in all, as an ending and the Status it was read from.

    :param raw: every payload of channel 3, joined
    :param json_status: False for the subprotocols before v4, whose failures are plain text
    """
    if not raw:
        return Exited(0), None
    text = bytes(raw).decode("utf-8", "replace")
    if not json_status:
        return Failed(f"Error executing remote command: {text}"), None
    status = parse_status(raw)
    if status is None:
        return _garbled_json(raw, text), None
    return _ending_of(status), status


def _garbled_json(raw: bytes | bytearray, text: str) -> Garbled:
    try:
        json.loads(raw)
    except (ValueError, RecursionError) as error:
        return Garbled(f'error stream protocol error: {error} in "{text[:1000]}"')
    return Garbled("error stream protocol error: unknown error")


def _ending_of(status: Status) -> Ending:
    if status.status == "Success":
        return Exited(0)
    if status.status != "Failure":
        return Garbled("error stream protocol error: unknown error")
    if status.reason != "NonZeroExitCode":
        return Failed(status.message)
    if not status.details:
        return Garbled("error stream protocol error: details must be set")
    for cause in status.causes:
        if cause.reason == "ExitCode":
            return _exit_code(cause.message)
    return Garbled("error stream protocol error: no ExitCode cause given")


def _exit_code(text: str) -> Ending:
    # Go's ParseUint(…, 10, 8): ASCII digits only, no sign, no underscore, no space.
    if text.isascii() and text.isdigit() and int(text[:9]) <= 255 and len(text) <= 9:
        return Exited(int(text))
    return Garbled(f'error stream protocol error: invalid exit code value "{text[:100]}"')
