"""Events as lines of a table, in the columns that the server has for the resource."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import Any, Final

from kubex_stream.api.watch_events import WatchEvent
from kubex_stream.watch.decoding import metadata_of

__all__ = ("ACCEPT", "EventTable")

#: What to ask the server for.
ACCEPT: Final = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
_GAP: Final = "   "
#: For a server that gives the objects themselves.
_PLAIN: Final = ({"name": "Name", "priority": 0},)


class EventTable:
    """Lines whose columns grow with what comes, and never shrink.

    :param namespaces: whether there is a column for them
    :param wide: whether there are those columns that are for wide terminals
    """

    def __init__(self, *, namespaces: bool = False, wide: bool = False) -> None:
        self._namespaces = namespaces
        self._wide = wide
        self._columns: Sequence[Any] = ()
        self._widths = [len("MODIFIED")]
        self._begun = False

    def lines(self, events: Iterable[WatchEvent[Any]]) -> list[str]:
        """What to show of events."""
        return self._lines([self._row(event) for event in events])

    def _row(self, event: WatchEvent[Any]) -> list[str]:
        raw = event.raw_object
        metadata = metadata_of(raw)
        columns: Sequence[Any] = _PLAIN
        cells: list[Any] = [metadata.get("name", "")]
        if raw.get("kind") == "Table":
            # Only the first event of a watch brings the columns.
            columns = self._columns = raw.get("columnDefinitions") or self._columns
            cells = (raw.get("rows") or [{}])[0].get("cells") or cells
        self._columns = columns
        shown = [_text(cell) for cell, column in zip(cells, columns, strict=False) if self._shows(column)]
        return [event.type, *([str(metadata.get("namespace", ""))] if self._namespaces else []), *shown]

    def _shows(self, column: Any) -> bool:
        return self._wide or not column.get("priority")

    def _lines(self, rows: list[list[str]]) -> list[str]:
        if rows and not self._begun:
            self._begun = True
            names = [str(column.get("name", "")).upper() for column in self._columns if self._shows(column)]
            rows = [["EVENT", *(["NAMESPACE"] if self._namespaces else []), *names], *rows]
        for row in rows:
            wanted = [len(cell) for cell in row]
            self._widths = [max(pair) for pair in zip_longest(self._widths, wanted, fillvalue=0)]
        return [
            _GAP.join(cell.ljust(width) for cell, width in zip(row, self._widths, strict=False)).rstrip()
            for row in rows
        ]


def _text(cell: Any) -> str:
    text = "<none>" if cell is None else str(cell)
    # A terminal must not take parts of it for commands.
    return "".join(character if character.isprintable() else "\ufffd" for character in text)
