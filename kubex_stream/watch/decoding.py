"""From a line of a watch to an event, and from what the server says in one to an error.

An event is ``{"type": …, "object": …}``.  The object is one of the resource's; for ERROR it is a Status; where a Table was asked for it is
a Table of one row, whose own object has the metadata.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from kubex_stream.client.api_errors import api_error
from kubex_stream.client.request import Response
from kubex_stream.errors import ApiError
from kubex_stream.watch.documents import parse

__all__ = ("CHANGES", "RawEvent", "decode", "encode", "error_of", "metadata_of")

#: The types that tell of an object.
CHANGES: Final = frozenset({"ADDED", "MODIFIED", "DELETED"})
_TOO_OLD: Final = ("Expired", "Gone")
_INITIAL_END: Final = "k8s.io/initial-events-end"


@dataclass(frozen=True, slots=True)
class RawEvent:
    """An event as it came.

    :ivar type: ADDED, MODIFIED, DELETED, BOOKMARK or ERROR; others may be invented
    :ivar line: what :func:`decode` makes it of again
    """

    type: str
    object: dict[str, Any]
    line: bytes = field(repr=False)

    @property
    def version(self) -> str:
        """The resource version that it makes; empty for none."""
        version = metadata_of(self.object).get("resourceVersion")
        if version is None and isinstance(
            own := self.object.get("metadata"), dict
        ):  # a Table's, where its row has none
            version = own.get("resourceVersion")
        return version if isinstance(version, str) else ""

    @property
    def ends_initial_state(self) -> bool:
        """Whether it is the bookmark behind the last object of the initial state."""
        annotations = metadata_of(self.object).get("annotations")
        return self.type == "BOOKMARK" and isinstance(annotations, dict) and annotations.get(_INITIAL_END) == "true"


def metadata_of(item: Mapping[str, Any]) -> Mapping[str, Any]:
    """The metadata of an object, or of the object in a Table's only row, or a Table's own where it has no row; empty where there is none."""
    if item.get("kind") == "Table" and (rows := item.get("rows")):
        item = _in_row(rows)
    metadata = item.get("metadata")
    return metadata if isinstance(metadata, dict) else {}


def _in_row(rows: object) -> Mapping[str, Any]:
    row = rows[0] if isinstance(rows, list) else None
    found = row.get("object") if isinstance(row, dict) else None
    return found if isinstance(found, dict) else {}


def decode(line: bytes) -> RawEvent:
    """The event of a line.

    :raises ValueError: there is none in it
    """
    event = parse(line)
    if not isinstance(event, dict):
        raise ValueError("no object")
    kind, item = event.get("type"), event.get("object")
    if not isinstance(kind, str) or not isinstance(item, dict):
        raise ValueError("no event")
    return RawEvent(kind, item, line)


def encode(kind: str, item: dict[str, Any]) -> RawEvent:
    """The event that tells of an object which did not come in one.

    :raises ValueError: nested too deeply
    """
    try:
        return RawEvent(kind, item, json.dumps({"type": kind, "object": item}, separators=(",", ":")).encode())
    except RecursionError:
        raise ValueError("nested too deeply") from None


def error_of(status: Mapping[str, Any], path: str) -> ApiError:
    """The error that an ERROR event tells of.

    :param status: its object
    :param path: of the watch, for the text
    """
    code = status.get("code")
    known = code if isinstance(code, int) and 400 <= code <= 599 else 500
    if status.get("reason") in _TOO_OLD:
        known = 410  # whatever the number: to go on from the same version would be an endless loop
    return api_error(Response(known, [], json.dumps(status).encode()), method="GET", path=path)
