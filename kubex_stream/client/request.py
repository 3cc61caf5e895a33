"""What goes into a transport and what comes out of it."""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote, urlencode

from kubex_stream.core.params import Timeout

__all__ = (
    "PreparedRequest",
    "Request",
    "Response",
    "StreamedResponse",
    "check_header_value",
    "check_headers",
    "path_of",
)

# RFC 9110, 5.6.2 and 5.5.
_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
#: Headers that say how a message is framed, which only the transport knows.
_FRAMING: Final = re.compile(r"connection|upgrade|content-length|transfer-encoding|sec-websocket-.*")
#: What a path may hold: no space, no control character, nothing that would begin a query or a fragment.
_PATH: Final = re.compile(r"/(?:(?![?#\\])[!-~])*")


def check_header_value(name: str, value: object) -> None:
    """Raises for what cannot be the value of a header; the text never shows it.

    :raises TypeError: it is no string
    :raises ValueError: line breaks and other control characters, or white space at an end
    """
    if not isinstance(value, str):
        raise TypeError(f"the header {name!r} must be a string, not {type(value).__name__}")
    if _CONTROL.search(value) or value != value.strip():
        raise ValueError(
            f"the header {name!r} holds a line break or another control character, or white space at an end"
        )


def check_headers(headers: Mapping[str, str]) -> None:
    """Raises for headers that an application cannot add.

    :raises TypeError: a name or a value is no string
    :raises ValueError: no name of a header, one that belongs to the transport, one given twice, or as :func:`check_header_value`
    """
    seen = set()
    for name, value in headers.items():
        if not _TOKEN.fullmatch(name):
            raise ValueError(f"{name!r} is not the name of a header")
        if _FRAMING.fullmatch(name.lower()):
            raise ValueError(f"the header {name!r} is set by the transport and cannot be given")
        if name.lower() in seen:
            raise ValueError(f"the header {name!r} is given twice; case does not matter")
        seen.add(name.lower())
        check_header_value(name, value)


def path_of(*segments: str) -> str:
    """A URL path from segments that are quoted, so that a name can never leave its place.

    :raises ValueError: an empty segment, ``.`` or ``..``
    """
    for segment in segments:
        if segment in ("", ".", ".."):
            raise ValueError(f"{segment!r} cannot be part of a path")
    return "".join("/" + quote(segment, safe="") for segment in segments)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request to the API server, as an API asks for it.

    :ivar path: the path behind the server's base URL, already quoted (see :func:`path_of`)
    :ivar query: pairs in order; a name may repeat.  Never shown: the command of an exec is in it.
    :ivar headers: they replace those of the client, whatever their case
    :ivar timeout: ``...`` for the client's own
    :raises ValueError: a path that is none, or headers that cannot be sent
    """

    path: str
    method: str = "GET"
    query: Sequence[tuple[str, str]] = field(default=(), repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)
    timeout: Any = ...

    def __post_init__(self) -> None:
        if not _PATH.fullmatch(self.path):
            raise ValueError("a path begins with '/' and holds neither spaces, '?' nor '#'; quote names with path_of()")
        check_headers(self.headers)

    @property
    def target(self) -> str:
        """Path and query."""
        return f"{self.path}?{urlencode(self.query)}" if self.query else self.path


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedRequest:
    """A request as a transport sends it: nothing is left to decide.

    :ivar url: absolute and quoted; a transport must not quote it again
    :ivar headers: in order; names may repeat.  Credentials are among them.
    :ivar timeout: None for no limits, ``...`` for the transport's own default.  ``total`` is enforced by the caller.
    :ivar ssl_context: for this request; a different object means a different client certificate, so no connection made with another
        one may be reused.  None for ``http://``.
    :ivar server_hostname: the name for SNI and verification, None for the URL's host
    :ivar proxy: the URL of the proxy, None for none; it may hold a password
    """

    method: str
    url: str = field(repr=False)
    headers: Sequence[tuple[str, str]] = field(repr=False)
    body: bytes = field(repr=False)
    timeout: Timeout | Any | None
    ssl_context: ssl.SSLContext | None
    server_hostname: str | None
    proxy: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Response:
    """A whole response.

    :ivar headers: pairs; names in lower case
    """

    status_code: int
    headers: Sequence[tuple[str, str]]
    content: bytes

    def header(self, name: str) -> str | None:
        """The first value of a header."""
        wanted = name.lower()
        return next((value for key, value in self.headers if key == wanted), None)

    def json(self) -> Any:
        """The body as JSON.

        :raises ValueError: it is none
        """
        return json.loads(self.content)


class StreamedResponse:
    """The head of a response whose body is read piece by piece: ``async for piece in response``.

    Each piece is what has arrived, never empty, of any size.  A body that is cut short raises
    :class:`~kubex_stream.errors.ConnectionLost` after everything that came; it never looks like an end.

    :param aclose: ends the response, whether it was read to its end or not
    """

    __slots__ = ("_aclose", "_pieces", "headers", "status_code")

    def __init__(
        self,
        status_code: int,
        headers: Sequence[tuple[str, str]],
        pieces: AsyncIterator[bytes],
        aclose: Callable[[], Awaitable[None]],
    ) -> None:
        self.status_code = status_code
        self.headers = headers
        self._pieces = pieces
        self._aclose = aclose

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._pieces

    async def aclose(self) -> None:
        """End the response and give its connection back or drop it.  Calling it again does nothing."""
        await self._aclose()
