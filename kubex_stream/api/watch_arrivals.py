"""What has come of a watch and has not been asked for: lines, and what they have told.

Rules of this file:
- A line is decoded when what came before it has been handed out, so of all that has come one object at a time takes more than its bytes.
- Behind an object of the initial state it is decoded at once: it may say that this was the last one.
- A line that tells of an error, or of nothing, is the last one of its connection.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from kubex_stream.api.watch_connection import no_event
from kubex_stream.api.watch_events import WatchNotice
from kubex_stream.client.request import Request
from kubex_stream.errors import ApiError
from kubex_stream.watch.course import Course, Told
from kubex_stream.watch.decoding import decode, error_of
from kubex_stream.watch.known import Change

__all__ = ("Arrivals",)


class Arrivals:
    """In the order in which it came.

    :ivar changes: whether there was an event besides bookmarks; to be reset by whoever wants to know
    :ivar trouble: what the last line was about, where it was the last one; to be dealt with when there is no next item
    """

    def __init__(self, course: Course) -> None:
        self._course = course
        self._path = ""
        self._lines: deque[bytes] = deque()
        self._told: deque[Change | WatchNotice | Exception] = deque()
        self.changes = False
        self.trouble: ApiError | None = None

    @property
    def has_initial(self) -> bool:
        """Whether a part of the initial state is known to be among it."""
        first = next((item for item in self._told if isinstance(item, Change)), None)
        return first is not None and first.initial  # those come before all others

    def read(self, lines: Iterable[bytes], path: str) -> None:
        """Lines have come.

        :param path: of what, for the text of an error
        """
        self._path = path
        self._lines.extend(line for line in lines if line and not line.isspace())

    def tell(self, told: Iterable[Told]) -> None:
        """Something has come that is to be told behind everything else."""
        for item in told:
            self._told.append(item if isinstance(item, Change) else WatchNotice(item.kind, item.version))

    def append(self, item: WatchNotice | Exception) -> None:
        """The same of the watch itself."""
        self._told.append(item)

    def put_back(self, changes: Iterable[Change]) -> None:
        """These were asked for in vain, the last one first; they are the next ones again."""
        self._told.extendleft(changes)

    def clear(self) -> None:
        """Forget everything."""
        self._lines.clear()
        self._told.clear()
        self.trouble = None

    def next(self) -> Change | WatchNotice | Exception | None:
        """The next item; None where nothing is left, or only trouble."""
        self._decode()
        if not self._told:
            return None
        item = self._told.popleft()
        if isinstance(item, Change) and item.initial:
            self._decode()
        return item

    def _decode(self) -> None:
        while self._lines and not self._told:
            try:
                event = decode(self._lines[0])
            except ValueError:
                self._give_up(no_event(Request(path=self._path)))
                return
            if event.type == "ERROR":
                self._give_up(error_of(event.object, self._path))
                return
            self._lines.popleft()
            self.changes = self.changes or event.type != "BOOKMARK"
            self.tell(self._course.take(event))

    def _give_up(self, trouble: ApiError) -> None:
        self._lines.clear()
        self.trouble = trouble
