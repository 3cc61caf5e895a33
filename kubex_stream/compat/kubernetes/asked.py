"""What a caller of ``Watch.stream`` asks for, taken out of the arguments of a generated method, and checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from kubex_stream.compat.kubernetes.calls import Call, recorded
from kubex_stream.compat.kubernetes.official import client as official
from kubex_stream.compat.kubernetes.streams import time_limits
from kubex_stream.core.params import Timeout
from kubex_stream.watch.selectors import field_selector_text, label_selector_text

__all__ = ("AskedWatch", "asked_of", "log_options")

#: Arguments that say how to watch.  They are not the generated method's to check: it takes no number for a version, and no ``deserialize``.
_OURS: Final = (
    "watch", "resource_version", "resource_version_match", "allow_watch_bookmarks", "timeout_seconds", "send_initial_events", "limit",
    "_continue", "pretty", "deserialize", "_preload_content", "_request_timeout", "_return_http_data_only",
)  # fmt: skip
_LOG: Final = {
    "container": ("container", str),
    "sinceSeconds": ("since", int),
    "tailLines": ("tail", int),
    "limitBytes": ("limit_bytes", int),
}
_LOG_FLAGS: Final = ("previous", "timestamps")


@dataclass(frozen=True, slots=True)
class AskedWatch:
    """A watch that is asked for.

    :ivar version: to go on from; None to begin with what is there
    :ivar timeout: seconds of the whole
    :ivar opened: seconds until it is open; None for the usual ones
    :ivar silence: seconds without a byte after which it is made again; None for the usual ones
    :ivar bookmarks: whether the caller wants to see them
    :ivar streamed: whether the caller wants the state streamed, and a bookmark at its end
    """

    call: Call
    version: str | None
    timeout: float | None
    opened: float | None
    silence: float | None
    bookmarks: bool
    streamed: bool

    @property
    def knows(self) -> bool:
        """Whether the caller knows the state, and wants what comes after it only."""
        return self.version not in (None, "0")


def asked_of(func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> AskedWatch:
    """The watch that ``Watch.stream(func, *args, **kwargs)`` asks for.

    :raises TypeError, ValueError: wrong arguments, or what a watch cannot have
    """
    opened, silence = time_limits(kwargs.get("_request_timeout"))
    limit = Timeout.coerce(kwargs.get("timeout_seconds") or None)
    call = recorded(func, args, {name: value for name, value in kwargs.items() if name not in _OURS})
    _refuse(call, call.without("labelSelector", "fieldSelector"))
    label_selector_text(call.value("labelSelector") or "")
    field_selector_text(call.value("fieldSelector") or "")
    return AskedWatch(
        call,
        _version(kwargs.get("resource_version")),
        None if limit is None else limit.total,
        opened,
        silence,
        bool(kwargs.get("allow_watch_bookmarks")),
        bool(kwargs.get("send_initial_events")),
    )


def _version(given: object) -> str | None:
    if given is None or given == "":
        return None
    text = str(given)
    if isinstance(given, bool) or not (text.isascii() and text.isdecimal()):
        raise official.ApiValueError(
            f"resource_version is a number, as a list's metadata.resource_version has it, not {given!r}; leave it out to begin with the "
            "objects as they are"
        )
    return text


def log_options(call: Call) -> dict[str, Any]:
    """What is asked for of a log, in this library's words.

    :raises ValueError: something that cannot be asked for here
    """
    _refuse(call, call.without(*_LOG, *_LOG_FLAGS))
    options: dict[str, Any] = {name: call.flag(name) for name in _LOG_FLAGS}
    for name, (word, kind) in _LOG.items():
        value = call.value(name)
        if value is not None:
            options[word] = kind(value)
    return options


def _refuse(call: Call, left: Sequence[tuple[str, str]]) -> None:
    if left:
        names = ", ".join(sorted({name for name, _ in left}))
        raise official.ApiValueError(
            f"{names} cannot be asked for of {call.path} here; use the official client for that"
        )
