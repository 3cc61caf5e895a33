"""``GET …/pods/NAME/log``: what is asked for, what is refused and in whose words, and which entries are the answer.

Rules of this file, in the order of the real server:
1. The API server: numbers and times that are none (400), options that are invalid (422), the pod (404), the container (400), the node (204).
2. The kubelet: a container that has not started, or that never ended before (400); a log that is gone is a text under a 200.
3. A line's time stands before its first piece only; where that piece is older than what was asked for, the others come without.
4. Times are compared by the second: the API server cuts off what is below.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from kubex_stream.testing import statuses
from kubex_stream.testing.http import RecordedRequest
from kubex_stream.testing.logs import Entry, LogFile, stamp
from kubex_stream.testing.store import ContainerState, PodState
from kubex_stream.testing.streams import named_container

__all__ = ("LogFilter", "LogOptions", "choose_container", "parse_options")

_NUMBERS: Final = ("tailLines", "sinceSeconds", "limitBytes")
_BOTH_TIMES: Final = "Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified"
_SPLIT: Final = "Forbidden: may not be specified"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogOptions:
    """What is asked for.

    :ivar since_ns: nothing older, in nanoseconds since 1970; 0 for all
    :ivar tail: so many entries of the end; None for all
    :ivar limit: at most so many bytes; None for no limit
    """

    container: str
    follow: bool
    previous: bool
    timestamps: bool
    since_ns: int
    tail: int | None
    limit: int | None


def parse_options(request: RecordedRequest, pod: str) -> LogOptions | dict[str, Any]:
    """The options of a request, or the refusal."""
    numbers: dict[str, int | None] = {}
    for name in _NUMBERS:
        text = request.value(name)
        try:
            numbers[name] = int(text) if text else None
        except ValueError:
            return statuses.bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    since = request.value("sinceTime")
    try:
        since_ns = int(datetime.fromisoformat(since).timestamp()) * 1_000_000_000 if since else 0
    except ValueError:
        form = "2006-01-02T15:04:05Z07:00"
        return statuses.bad_request(f'parsing time "{since}" as "{form}": cannot parse "{since}" as "2006"')
    invalid = _invalid(request, numbers)
    if invalid is not None:
        return statuses.status(422, f'The PodLogOptions "{pod}" is invalid: {invalid}', "Invalid", {})
    seconds = numbers["sinceSeconds"]
    if seconds is not None:
        since_ns = (int(time.time()) - seconds) * 1_000_000_000
    return LogOptions(
        container=request.value("container"),
        follow=request.flag("follow"),
        previous=request.flag("previous"),
        timestamps=request.flag("timestamps"),
        since_ns=since_ns,
        tail=numbers["tailLines"],
        limit=numbers["limitBytes"],
    )


def _invalid(request: RecordedRequest, numbers: dict[str, int | None]) -> str | None:
    tail, seconds, limit = (numbers[name] for name in _NUMBERS)
    if tail is not None and tail < 0:
        return f"tailLines: Invalid value: {tail}: must be greater than or equal to 0"
    if limit is not None and limit < 1:
        return f"limitBytes: Invalid value: {limit}: must be greater than 0"
    if seconds is not None and request.value("sinceTime"):
        return f"[]: {_BOTH_TIMES}"
    if seconds is not None and seconds < 1:
        return f"sinceSeconds: Invalid value: {seconds}: must be greater than 0"
    return f"stream: {_SPLIT}" if request.values("stream") else None


def choose_container(pod: PodState, options: LogOptions) -> ContainerState | dict[str, Any]:
    """The container whose log is asked for, or the refusal."""
    name, found = pod.declared.name, named_container(pod, options.container)
    if isinstance(found, dict) or not pod.declared.scheduled:
        return found
    shown = f'container "{found.declared.name}" in pod "{name}"'
    if pod.phase == "Pending":
        return statuses.bad_request(f"{shown} is waiting to start: ContainerCreating")
    if options.previous and found.log.previous is None:
        return statuses.bad_request(f"previous terminated {shown} not found")
    return found


class LogFilter:
    """Turns entries into bytes of the answer, in order."""

    def __init__(self, options: LogOptions) -> None:
        self._options = options
        self._left = options.limit
        self._begins = True

    @property
    def full(self) -> bool:
        """Whether the limit of bytes is reached."""
        return self._left == 0

    def start(self, file: LogFile) -> int:
        """The place of the first entry that is asked for."""
        tail = self._options.tail
        return 0 if tail is None else max(0, len(file.entries) - tail)

    def wanted(self, entries: Sequence[Entry]) -> Iterator[bytes]:
        """The bytes of those entries that are asked for."""
        for entry in entries:
            begins, self._begins = self._begins, entry.data.endswith(b"\n")
            if entry.time_ns < self._options.since_ns:
                continue
            data = stamp(entry.time_ns) + b" " + entry.data if self._options.timestamps and begins else entry.data
            if self._left is not None:
                data = data[: self._left]
                self._left -= len(data)
            if data:
                yield data
