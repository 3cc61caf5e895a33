"""From the arguments of that package's ``request`` to those of this library's."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import EllipsisType
from typing import Final
from urllib.parse import unquote

import aiohttp
from kubernetes_asyncio.client.exceptions import ApiValueError

from kubex_stream.core.params import Timeout

__all__ = ("Query", "StreamPath", "flag", "headers_of", "pairs", "port_of", "timeout_of", "words_of")

Query = list[tuple[str, object]]

_STREAM: Final = re.compile(r"/api/v1/namespaces/([^/]+)/pods/([^/]+)/(exec|attach|portforward)")
_TRUTH: Final = {"true": True, "1": True, "t": True, "false": False, "0": False, "f": False, "": False}


@dataclass(frozen=True, slots=True)
class StreamPath:
    """The path of a streaming subresource."""

    namespace: str
    pod: str
    subresource: str

    @classmethod
    def parse(cls, path: str) -> StreamPath | None:
        """``path`` taken apart; None where it is that of a plain request."""
        found = _STREAM.fullmatch(path)
        return None if found is None else cls(unquote(found[1]), unquote(found[2]), found[3])


def pairs(given: Mapping[str, object] | Sequence[tuple[str, object]] | None) -> Query:
    """Query parameters as pairs; a list of values becomes a pair for each."""
    items = given.items() if isinstance(given, Mapping) else given or ()
    return [
        (str(name), each) for name, value in items for each in (value if isinstance(value, list | tuple) else (value,))
    ]


def headers_of(given: Mapping[str, object] | None) -> dict[str, str]:
    """Headers without those that say nothing; of two that differ in case, the last."""
    kept: dict[str, tuple[str, str]] = {}
    for name, value in (given or {}).items():
        if value is not None:
            kept[str(name).lower()] = (str(name), str(value))
    return dict(kept.values())


def flag(query: Query, name: str) -> bool:
    """One of the booleans of exec and attach; absent is false, as to servers.

    :raises ApiValueError: it is none
    """
    given = [value for key, value in query if key == name]
    value = given[-1] if given else False
    known = _TRUTH.get(str(value).lower()) if isinstance(value, bool | int | str) else None
    if known is None:
        raise ApiValueError(f"{name} is True or False, not {value!r}")
    return known


def words_of(query: Query) -> list[str]:
    """The command of an exec.

    :raises ApiValueError: there is none, or it holds something that is no string
    """
    words = [value for key, value in query if key == "command"]
    if not words or not words[0]:
        raise ApiValueError("command is missing: a list of strings, the program first")
    if not all(isinstance(word, str) for word in words):
        raise ApiValueError("command is a list of strings")
    return [str(word) for word in words]


def port_of(query: Query) -> int:
    """The port of a port-forward.

    :raises ApiValueError: none, several, or no number of one
    """
    given = [part.strip() for key, value in query if key == "ports" for part in str(value).split(",")]
    if len(given) > 1:
        raise ApiValueError(
            "ports: a response carries one port, since its channels tell only one apart; make a call for each"
        )
    if not given or not given[0].isascii() or not given[0].isdigit() or not 0 < int(given[0]) < 65536:
        raise ApiValueError("ports is the number of a port of the pod, as '8080'")
    return int(given[0])


def timeout_of(given: object) -> Timeout | EllipsisType:
    """``_request_timeout``: seconds in all, a pair (connect, read), or aiohttp's object; nothing means the client's own.

    :raises ApiValueError: something else
    """
    try:
        if isinstance(given, aiohttp.ClientTimeout):
            # To aiohttp 0 is no limit.
            return Timeout(
                given.total or None, connect=given.sock_connect or given.connect or None, read=given.sock_read or None
            )
        if isinstance(given, tuple) and len(given) == 2:
            return Timeout(connect=given[0], read=given[1])
        if given is None or (given == 0 and not isinstance(given, bool)):
            return ...
        if isinstance(given, int | float) and not isinstance(given, bool):
            return Timeout(given)
    except ValueError as error:
        raise ApiValueError(f"_request_timeout: {error}") from error
    raise ApiValueError(
        f"_request_timeout is a number of seconds, a pair (connect, read) or an aiohttp.ClientTimeout, not {type(given).__name__}"
    )
