"""Where a reader is in a log, so that it can go on in another answer: no line lost, and none twice.

How a log can be asked for again: only by time, and a server cuts a time to its second.  So an answer to go on with begins with lines that were
handed out already, and the task is to know them again.

Rules of this file:
- A line is known by its time and its content.  Equal lines are counted: of three that are equal, of which two were handed out, one is new.
- Lines are not ordered by time: what a container writes to stdout and to stderr is stamped apart.  So the answer begins a second
  before the last line's second, and everything that was handed out of those seconds is remembered; as hashes, eight bytes each.
- Clocks are set back.  Then what was handed out before has later times than the last line; it comes before that line in the log,
  and is known by this.
- The last line handed out is in the answer, or the log is not the one that was read: it was rotated, or the container has restarted.
- What lies before the first line handed out was not asked for, and stays away in later answers too.
"""

from __future__ import annotations

from array import array
from collections import Counter, deque
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import chain
from typing import Final, Literal

from kubex_stream.logs.lines import split_stamp, stamp_ns

__all__ = ("LogPosition", "Overlap")

_SECOND: Final = 1_000_000_000
#: Seconds of lines that are remembered, besides the last line's.
_REMEMBERED: Final = 2


class LogPosition:
    """What has been handed out of one container's log."""

    def __init__(self) -> None:
        self._recent: deque[tuple[int, array[int]]] = deque()
        self._second = 0
        self._highest = 0
        self._last: int | None = None
        self._last_ns = 0
        self._first: int | None = None
        self._first_ns = 0

    @property
    def begun(self) -> bool:
        """Whether any line has been handed out."""
        return self._last is not None

    @property
    def since(self) -> str:
        """The ``sinceTime`` of an answer to go on with."""
        return datetime.fromtimestamp(self._second - 1, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def advance(self, lines: Sequence[bytes]) -> None:
        """Lines are handed out.

        :param lines: with their times, in order; not empty
        """
        stamp, _ = split_stamp(lines[-1])
        if not stamp:
            return  # the rest of a line that is older than what was asked for
        hashes = array("q", map(hash, lines))
        if self._first is None:
            self._first, self._first_ns = hashes[0], stamp_ns(split_stamp(lines[0])[0])
        self._last, self._last_ns = hashes[-1], stamp_ns(stamp)
        self._second = self._last_ns // _SECOND
        if self._second < self._highest - _REMEMBERED:
            self._recent.clear()  # the clock was set back
        # Within one time zone the order of the texts is that of the times.
        self._highest = max(self._highest, self._second, stamp_ns(split_stamp(max(lines))[0]) // _SECOND)
        self._recent.append((self._second, hashes))
        while self._recent[0][0] < self._second - _REMEMBERED:
            self._recent.popleft()

    def overlap(self) -> Overlap:
        """For an answer that begins at :attr:`since`."""
        known = Counter(chain.from_iterable(hashes for _, hashes in self._recent))
        first = self._first if self._first is not None and known[self._first] else None
        regressed = self._highest if self._highest > self._second + _REMEMBERED else 0
        until = max(self._second, self._highest) + _REMEMBERED
        return Overlap(known, last=self._last, first=first, first_ns=self._first_ns, until=until, regressed=regressed)


class Overlap:
    """Leaves out of one answer what has been handed out.

    :param known: how often which line was
    :param last: the last one
    :param first: the first one of all, where it is among the known
    :param first_ns: its time
    :param until: the second after which nothing can have been handed out
    :param regressed: the latest second that was handed out, where the last line's is before it
    """

    def __init__(
        self, known: Counter[int], *, last: int | None, first: int | None, first_ns: int, until: int, regressed: int
    ) -> None:
        self._known = known
        self._last = last
        self._left = known[last] if last is not None else 0
        self._first = first
        self._first_ns = first_ns
        self._regressed = regressed
        self._begun = last is None
        self._pending = last is not None
        self._until = until
        #: ``open``: nothing new has come yet.  ``whole``: the last line has come by.  ``broken``: something new came without it.
        self.continuity: Literal["open", "whole", "broken"] = "open" if self._pending else "whole"

    def new(self, lines: list[bytes]) -> list[bytes]:
        """Those of the answer's next lines that are new."""
        if self._pending and self.continuity != "open" and lines:
            self._pending = bool(self._known) and stamp_ns(split_stamp(lines[0])[0]) // _SECOND <= self._until
        if not self._pending:
            return lines
        for place, line in enumerate(lines):
            if self._is_new(line):
                return self._found([line, *(each for each in lines[place + 1 :] if self._is_new(each))])
        return []

    def _found(self, lines: list[bytes]) -> list[bytes]:
        if self.continuity == "open" and lines:
            self.continuity = "broken"
        return lines

    def _is_new(self, line: bytes) -> bool:
        if not self._begun:
            self._begun = bool(split_stamp(line)[0])
            if not self._begun:
                return False  # the rest of a line that was handed out whole
        value = hash(line)
        count = self._known.get(value, 0)
        if not count:
            return not self._is_old(line)
        if count == 1:
            del self._known[value]
        else:
            self._known[value] = count - 1
        if value == self._first:
            self._first = None
        if value == self._last:
            self._left -= 1
            if not self._left:
                self.continuity, self._regressed = "whole", 0
        return False

    def _is_old(self, line: bytes) -> bool:
        if self._first is None and not self._regressed:
            return False
        time = stamp_ns(split_stamp(line)[0])
        if self._first is not None and (
            time < self._first_ns or (time == self._first_ns and self.continuity == "open")
        ):
            return True
        return bool(self._regressed) and time // _SECOND <= self._regressed
