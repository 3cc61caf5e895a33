"""Plain requests of that package's generated APIs, over a client of this library."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from email.message import Message
from functools import partialmethod
from types import TracebackType
from typing import Any, Final, Self

import anyio
from kubernetes_asyncio.client.exceptions import ApiException, ApiValueError
from kubernetes_asyncio.client.rest import RESTResponse

from kubex_stream.client.base import BaseClient
from kubex_stream.client.request import Request, StreamedResponse
from kubex_stream.compat.kubernetes_asyncio._refusals import api_exception, body_of, reason_of
from kubex_stream.compat.kubernetes_asyncio._requests import headers_of, pairs, timeout_of
from kubex_stream.core.params import Timeout
from kubex_stream.errors import ApiError, StreamError

__all__ = ("Head", "Reply", "RestClient", "rest_response")

_WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH", "OPTIONS", "DELETE"})
_METHODS: Final = _WITH_BODY | {"GET", "HEAD"}


class Head:
    """Status line and headers, in the shape that :class:`RESTResponse` wants."""

    def __init__(self, status: int, headers: Sequence[tuple[str, str]]) -> None:
        self.status = status
        self.reason = reason_of(status)
        self.headers = Message()  # a mapping that does not mind case
        for name, value in headers:
            self.headers[name] = value


class Content:
    """The body of a response as it comes; lines of any length.

    :param total: seconds for all of it, None for no limit
    :param pause: seconds for each piece
    """

    def __init__(self, pieces: AsyncIterator[bytes], total: float | None, pause: float | None) -> None:
        self._pieces = pieces
        self._until = None if total is None else time.monotonic() + total
        self._pause = pause
        self._buffer = bytearray()
        self._ended = self.closed = False

    async def readany(self) -> bytes:
        """What has come, empty at the end.

        :raises asyncio.TimeoutError: the ``_request_timeout`` of the call passed
        :raises anyio.ClosedResourceError: the reply, or its client, was closed here
        :raises ConnectionLost: the body was cut short; everything that came was handed out before
        """
        if not self._buffer:
            await self._more()
        taken = bytes(self._buffer)
        self._buffer.clear()
        return taken

    async def _more(self) -> bool:
        if self._ended:
            return False
        if self.closed:
            raise anyio.ClosedResourceError
        left = None if self._until is None else max(0.0, self._until - time.monotonic())
        try:
            with anyio.fail_after(min((each for each in (left, self._pause) if each is not None), default=None)):
                piece = await anext(self._pieces, b"")
        except StreamError:
            if self.closed:  # by another task, meanwhile
                raise anyio.ClosedResourceError from None
            raise
        self._ended = not piece
        self._buffer += piece
        return bool(piece)

    async def readline(self) -> bytes:
        """The next line with its end, empty at the end of all.  Raises as :meth:`readany`."""
        searched = 0
        while (end := self._buffer.find(b"\n", searched)) < 0:
            searched = len(self._buffer)
            if not await self._more():
                return await self.readany()
        line = bytes(self._buffer[: end + 1])
        del self._buffer[: end + 1]
        return line

    async def read(self, n: int = -1) -> bytes:
        """At most ``n`` bytes, or everything up to the end.  Raises as :meth:`readany`."""
        if n < 0:
            while await self._more():
                pass
            return await self.readany()
        if n and not self._buffer:
            await self._more()
        taken = bytes(self._buffer[:n])
        del self._buffer[:n]
        return taken

    def at_eof(self) -> bool:
        """Whether everything has been read."""
        return self._ended and not self._buffer

    async def iter_any(self) -> AsyncIterator[bytes]:
        """Pieces as they come."""
        while piece := await self.readany():
            yield piece

    async def iter_chunked(self, n: int) -> AsyncIterator[bytes]:
        """Pieces of at most ``n`` bytes."""
        while piece := await self.read(n):
            yield piece

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        line = await self.readline()
        if not line:
            raise StopAsyncIteration
        return line


class Reply(Head):
    """What a plain request with ``_preload_content=False`` gives: the part of aiohttp's response that code of that package uses.

    ``content.readline()``, ``async for line in content``, ``read``, ``text``, ``json``, ``ok``, ``raise_for_status``, ``content_type``;
    ``close`` or ``async with`` ends it.
    """

    def __init__(
        self,
        status: int,
        headers: Sequence[tuple[str, str]],
        pieces: AsyncIterator[bytes],
        timeout: Timeout | None,
        leave: Callable[[], Awaitable[object]],
    ) -> None:
        super().__init__(status, headers)
        self.content = Content(
            pieces, None if timeout is None else timeout.total, None if timeout is None else timeout.read
        )
        self._leave = leave
        self._leaving: asyncio.Task[None] | None = None
        self._body: bytes | None = None

    @property
    def ok(self) -> bool:
        """Whether the server did what was asked for."""
        return self.status < 400

    @property
    def content_type(self) -> str:
        """The type of the body without its parameters, as ``application/json``."""
        return self.headers.get_content_type()

    def raise_for_status(self) -> None:
        """
        :raises ApiException: the server refused; its body is still to be read
        """
        if not self.ok:
            raise ApiException(status=self.status, reason=self.reason)

    async def read(self) -> bytes:
        """The whole body; called again, the same."""
        if self._body is None:
            self._body = await self.content.read()
        return self._body

    async def text(self, encoding: str | None = None, errors: str = "strict") -> str:
        """The whole body as text."""
        return (await self.read()).decode(encoding or "utf-8", errors)

    async def json(
        self,
        *,
        encoding: str | None = None,
        loads: Callable[[str], Any] = json.loads,
        content_type: str | None = None,  # noqa: ARG002  (any is taken)
    ) -> Any:
        """The whole body as JSON; None where it is empty."""
        text = (await self.text(encoding)).strip()
        return loads(text) if text else None

    def close(self) -> None:
        """End it, read or not.  The connection is let go of a moment later."""
        self.content.closed = True
        if self._leaving is None:
            self._leaving = asyncio.get_running_loop().create_task(self._left())

    release = close

    async def _left(self) -> None:
        await self._leave()

    async def wait_closed(self) -> None:
        """End it, and wait until that is done."""
        self.close()
        assert self._leaving is not None
        await asyncio.wait([self._leaving])

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.wait_closed()


class RestClient:
    """In the place of that package's ``RESTClientObject``.

    :param client: gives the open client
    :param path_of: the path behind the server's URL
    """

    def __init__(self, client: Callable[[], Awaitable[BaseClient]], path_of: Callable[[str], str]) -> None:
        self._client = client
        self._path_of = path_of
        self._open: set[Reply] = set()

    async def request(
        self,
        method: str,
        url: str,
        query_params: Mapping[str, object] | Sequence[tuple[str, object]] | None = None,
        headers: Mapping[str, object] | None = None,
        body: object = None,
        post_params: object = None,
        _preload_content: bool = True,
        _request_timeout: object = None,
    ) -> RESTResponse | Reply:
        """A plain request.  An error of the server's is an ``ApiException``, or with ``_preload_content=False`` a reply with its status."""
        method = method.upper()
        if method not in _METHODS:
            raise ApiValueError(f"the method is one of {', '.join(sorted(_METHODS))}")
        if post_params:
            raise ApiValueError("forms are not sent: the Kubernetes API takes none")
        timeout = timeout_of(_request_timeout)
        sent = headers_of(headers)
        if not any(name.lower() == "content-type" for name in sent):
            sent["Content-Type"] = "application/json"
        request = Request(
            path=self._path_of(url),
            method=method,
            query=[(name, str(value)) for name, value in pairs(query_params)],
            headers=sent,
            body=_encoded(body, sent) if method in _WITH_BODY else b"",
            timeout=timeout,
        )
        client = await self._client()
        if not _preload_content:
            return await self._stream(client, request, timeout if isinstance(timeout, Timeout) else None)
        try:
            response = await client.request(request)
        except ApiError as error:
            raise api_exception(error) from error
        return rest_response(Head(response.status_code, response.headers), response.content)

    async def _stream(self, client: BaseClient, request: Request, timeout: Timeout | None) -> Reply:
        opening: AbstractAsyncContextManager[StreamedResponse] = client.stream(request)
        try:
            response = await opening.__aenter__()
        except ApiError as error:
            return Reply(error.status_code, (), _one(body_of(error)), None, _nothing)

        async def leave() -> None:
            self._open.discard(reply)
            await opening.__aexit__(None, None, None)

        reply = Reply(response.status_code, response.headers, aiter(response), timeout, leave)
        self._open.add(reply)
        return reply

    async def close(self) -> None:
        """End what is open."""
        for reply in [*self._open]:
            await reply.wait_closed()

    def forget(self) -> None:
        """Leave what is open as it is."""
        self._open.clear()

    GET = partialmethod(request, "GET")
    HEAD = partialmethod(request, "HEAD")
    OPTIONS = partialmethod(request, "OPTIONS")
    DELETE = partialmethod(request, "DELETE")
    POST = partialmethod(request, "POST")
    PUT = partialmethod(request, "PUT")
    PATCH = partialmethod(request, "PATCH")


def rest_response(head: Head, content: bytes) -> RESTResponse:
    """A whole response, as that package hands it around."""
    return RESTResponse(head, content)  # type: ignore[arg-type]  # of aiohttp's it takes these three attributes


async def _one(piece: bytes) -> AsyncIterator[bytes]:
    yield piece


async def _nothing() -> None:
    return None


def _encoded(body: object, headers: Mapping[str, str]) -> bytes:
    """The body as it is sent, by its type."""
    kind = next(value for name, value in headers.items() if name.lower() == "content-type")
    if body is None:
        return b""
    if re.search("json", kind, re.IGNORECASE) or kind == "application/apply-patch+yaml":
        return json.dumps(body).encode()
    if isinstance(body, bytes):
        return body
    raise ApiValueError(f"a body of the type {kind} is given as bytes, not as {type(body).__name__}")
