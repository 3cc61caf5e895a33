"""The seam's first half: a client opens requests, streams and WebSockets.

Rules of this file:
- Policy lives here, once for every backend: credentials and their one refresh, retries, deadlines, URLs, proxies, what is an error.
- A backend only moves bytes: three methods that do one attempt each, and two that open and close what it needs.  It maps its library's
  exceptions to :mod:`kubex_stream.errors` and knows nothing of Kubernetes.
"""

from __future__ import annotations

import logging
import os
import ssl
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from contextlib import asynccontextmanager, suppress
from types import TracebackType
from typing import Any, ClassVar, Final, Self, TypeVar
from urllib.parse import urlsplit

import anyio

from kubex_stream._version import __version__
from kubex_stream.client.api_errors import MAX_ERROR_BODY, api_error
from kubex_stream.client.event_loops import running_event_loop
from kubex_stream.client.limits import deadline, retry_delay
from kubex_stream.client.observer import Observer
from kubex_stream.client.options import ClientOptions
from kubex_stream.client.proxies import choose_proxy
from kubex_stream.client.request import PreparedRequest, Request, Response, StreamedResponse
from kubex_stream.client.warning_header import warn_of
from kubex_stream.client.websocket import WebSocketConnection
from kubex_stream.configuration import ClientConfiguration, Credentials
from kubex_stream.core.params import Timeout
from kubex_stream.errors import ApiError, BackendNotAvailable, ConnectionLost, ProtocolViolation, Unauthorized

__all__ = ("CLIENT_CONTRACT", "BaseClient")

CLIENT_CONTRACT: Final = 1  #: Raised when a member is added that backends must know of.
LONGEST_STOP: Final = 5.0  #: Seconds that closing a client may take, also when its task is being cancelled.

_logger = logging.getLogger("kubex_stream")
_T = TypeVar("_T")


class BaseClient(ABC):
    """A client of one API server, for any number of tasks.  Applications get one from :func:`create_client`; backends subclass this.

    ``async with`` opens and closes it; ``await`` opens it and gives it, for applications that call :meth:`aclose` themselves.

    :param configuration: which cluster and who you are; None loads it on opening
    :param options: how to work
    :param observer: is told of streams and retries
    """

    #: The event loops that the backend runs on.
    event_loops: ClassVar[frozenset[str]] = frozenset({"asyncio"})

    def __init__(
        self,
        configuration: ClientConfiguration | None = None,
        options: ClientOptions | None = None,
        *,
        observer: Observer | None = None,
    ) -> None:
        if configuration is not None and not isinstance(configuration, ClientConfiguration):
            raise TypeError(f"configuration must be a ClientConfiguration, not {type(configuration).__name__}")
        if options is not None and not isinstance(options, ClientOptions):
            raise TypeError(f"options must be ClientOptions, not {type(options).__name__}")
        self._configuration = configuration
        self._options = options or ClientOptions()
        self._observer = observer or Observer()
        self._credentials: Credentials | None = None
        self._proxy: str | None = None
        self._opened = False
        self._closed = False

    # What a backend implements ----------------------------------------------------------------------------------------

    @abstractmethod
    async def start(self) -> None:
        """Make ready to send; called once, on the event loop, before anything else.  No connection has to be made."""

    @abstractmethod
    async def stop(self) -> None:
        """Release everything; called once.  Open streams have been left before, or are lost now."""

    @abstractmethod
    async def send_request(self, request: PreparedRequest) -> Response:
        """One attempt at a plain request; any status is a response.

        :raises ConnectionFailed: no connection could be made
        :raises ConnectionLost: it broke before the whole response had come
        :raises StreamTimeout: a phase of ``request.timeout`` took too long
        """

    @abstractmethod
    async def open_stream(self, request: PreparedRequest) -> StreamedResponse:
        """One attempt at a request whose body is read as it comes; returns with the head, whatever its status.

        No timeout applies to the body, nor does an open stream count against the pool.  Raises as :meth:`send_request`.
        """

    @abstractmethod
    async def open_websocket(
        self, request: PreparedRequest, subprotocols: Sequence[str]
    ) -> WebSocketConnection | Response:
        """One attempt at a WebSocket handshake; any answer but a valid 101 is returned as the response, body included.

        Offer ``subprotocols`` in one comma-separated header line, no extensions, HTTP/1.1 only; follow no redirect.  An open WebSocket
        does not count against the pool.  Raises as :meth:`send_request`, and

        :raises ProtocolViolation: a 101 that is no valid WebSocket handshake
        """

    # Opening and closing ----------------------------------------------------------------------------------------------

    async def open(self) -> Self:
        """Load what is missing of the configuration and make ready.  A client whose opening has failed is closed.

        :raises ConfigurationError: there is no usable configuration
        :raises BackendNotAvailable: the backend does not run on this event loop
        """
        if self._opened:
            raise RuntimeError("this client has been opened already; create another one")
        loop = running_event_loop()
        if loop is not None and loop not in self.event_loops:
            raise BackendNotAvailable(
                f"{type(self).__name__} runs on {' and '.join(sorted(self.event_loops))}, not on {loop}; create the client inside "
                "the event loop, or choose a backend that runs on it: pip install 'kubex-stream[httpx]'"
            )
        self._opened = True
        try:
            if self._configuration is None:
                self._configuration = await ClientConfiguration.load()
            configuration = self._configuration
            self._proxy = choose_proxy(configuration.url, self._options, configuration.proxy_url, os.environ)
            credentials = configuration.credentials()
            await self.start()
            self._credentials = credentials
        except BaseException:
            self._closed = True
            raise
        return self

    async def aclose(self) -> None:
        """Close every connection.  Calling it again does nothing."""
        if self._opened and not self._closed:
            self._closed = True
            with anyio.move_on_after(LONGEST_STOP, shield=True):
                await self.stop()

    def __await__(self) -> Generator[Any, None, Self]:
        return self.open().__await__()

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    @property
    def configuration(self) -> ClientConfiguration:
        """Which cluster and who you are.

        :raises RuntimeError: it is to be loaded on opening, and the client is not open yet
        """
        if self._configuration is None:
            raise RuntimeError("the configuration is loaded when the client is opened: use `async with` or `await`")
        return self._configuration

    @property
    def options(self) -> ClientOptions:
        """How this client works."""
        return self._options

    @property
    def observer(self) -> Observer:
        """Who is told of streams and retries."""
        return self._observer

    def __repr__(self) -> str:
        state = "closed" if self._closed else "open" if self._opened else "not open"
        where = "" if self._configuration is None else f" {self._configuration.url}"
        return f"<{type(self).__name__}{where} ({state})>"

    # Requests ---------------------------------------------------------------------------------------------------------

    async def request(self, request: Request) -> Response:
        """A plain request and its whole response.  A cancelled call closes its connection.

        :raises ApiError: an HTTP error, as the subclass for its status
        :raises ConnectionFailed: no connection could be made
        :raises ConnectionLost: it broke before the whole response had come
        :raises StreamTimeout: it took longer than its timeout
        """

        async def attempt(prepared: PreparedRequest) -> Response:
            response = await self.send_request(prepared)
            self._warn(response.headers)
            self._check(response, request)
            return response

        with deadline(self._timeout(request), None, f"{request.method} {request.path}") as until:
            return await self._attempts(request, until, attempt)

    @asynccontextmanager
    async def stream(self, request: Request) -> AsyncGenerator[StreamedResponse, None]:
        """A response whose body is read as it comes; the timeout ends with its head.  Raises as :meth:`request`."""

        async def attempt(prepared: PreparedRequest) -> StreamedResponse:
            response = await self.open_stream(prepared)
            try:
                self._warn(response.headers)
                if response.status_code >= 300:
                    self._check(await _refusal(response), request)
            except BaseException:
                with anyio.CancelScope(shield=True):
                    await response.aclose()
                raise
            return response

        with deadline(self._timeout(request), self._options.open_timeout, f"{request.method} {request.path}") as until:
            response = await self._attempts(request, until, attempt)
        try:
            yield response
        finally:
            with anyio.CancelScope(shield=True):
                await response.aclose()

    async def connect_websocket(self, request: Request, subprotocols: Sequence[str]) -> WebSocketConnection:
        """Open a WebSocket.  Whoever calls owns it, and has to close it.

        :param subprotocols: what to offer, best first
        :raises ProtocolViolation: the server chose a subprotocol that was not offered, or none
        """

        async def attempt(prepared: PreparedRequest) -> WebSocketConnection:
            answer = await self.open_websocket(prepared, subprotocols)
            if not isinstance(answer, Response):
                return answer
            self._warn(answer.headers)
            self._check(answer, request, subprotocols)
            raise ApiError(
                f"{request.method} {request.path}: {answer.status_code} instead of 101: whatever answered does not speak WebSocket here",
                status_code=answer.status_code,
            )

        if isinstance(subprotocols, str) or not subprotocols:
            raise ValueError("subprotocols is a list of names, best first")
        with deadline(self._timeout(request), self._options.open_timeout, f"opening {request.path}") as until:
            connection = await self._attempts(request, until, attempt, handshake=True)
        if connection.negotiated_subprotocol not in subprotocols:
            chosen = connection.negotiated_subprotocol
            with anyio.CancelScope(shield=True):
                await connection.abort()
            raise ProtocolViolation(f"invalid subprotocol: expected one of {', '.join(subprotocols)}, got {chosen!r}")
        return connection

    def _timeout(self, request: Request) -> Timeout | Any | None:
        timeout = self._options.timeout if request.timeout is ... else request.timeout
        return ... if timeout is ... else Timeout.coerce(timeout)

    def _check(self, response: Response, request: Request, subprotocols: Sequence[str] = ()) -> None:
        if response.status_code >= 300:
            raise api_error(response, method=request.method, path=request.path, subprotocols=subprotocols)

    def _warn(self, headers: Sequence[tuple[str, str]]) -> None:
        if self._options.log_api_warnings:
            warn_of(headers)

    async def _attempts(
        self,
        request: Request,
        until: float,
        attempt: Callable[[PreparedRequest], Awaitable[_T]],
        handshake: bool = False,
    ) -> _T:
        # The kubelet answers 406 to a handshake that accepts JSON only.
        accept = "*/*" if handshake else "application/json"
        refreshed, retries = False, 0
        while True:
            try:
                return await attempt(await self._prepare(request, accept))
            except Unauthorized:
                if refreshed or not await self._opened_credentials().refresh():
                    raise
                refreshed = True
            except ApiError as error:
                # A handshake starts a command, so its 503 has to be the server's own, which says when to come again.
                safe = request.method in ("GET", "HEAD") and (error.retry_after is not None or not handshake)
                delay = retry_delay(error, repeatable=safe, retried=retries, retries=self._options.retries, until=until)
                if delay is None:
                    raise
                retries += 1
                _logger.warning("%s; trying again in %.1f s (%d of %d)", error, delay, retries, self._options.retries)
                self._observer.retried(request.path, error, delay)
                await anyio.sleep(delay)

    async def _prepare(self, request: Request, accept: str) -> PreparedRequest:
        credentials = self._opened_credentials()
        configuration = self.configuration
        return PreparedRequest(
            method=request.method,
            url=configuration.url + request.target,
            headers=await self._headers(request, accept, credentials),
            body=request.body,
            timeout=self._timeout(request),
            ssl_context=await self._ssl_context(credentials),
            server_hostname=configuration.tls_server_name,
            proxy=self._proxy,
        )

    def _opened_credentials(self) -> Credentials:
        if self._credentials is None or self._closed:
            raise RuntimeError(
                "the client is closed" if self._closed else "the client is not open: use `async with` or `await`"
            )
        return self._credentials

    async def _ssl_context(self, credentials: Credentials) -> ssl.SSLContext | None:
        if urlsplit(self.configuration.url).scheme != "https":
            return None
        return self._options.ssl_context or await credentials.ssl_context()

    async def _headers(self, request: Request, accept: str, credentials: Credentials) -> list[tuple[str, str]]:
        own = [("Accept", accept), ("User-Agent", self._options.user_agent or f"kubex-stream/{__version__}")]
        identity = await credentials.headers()
        if self._options.impersonate is not None:
            identity = [pair for pair in identity if not pair[0].lower().startswith("impersonate-")]
            identity += self._options.impersonate.headers()
        merged = [*own, *identity]
        for extra in (self._options.headers, request.headers):
            names = {name.lower() for name in extra}
            merged = [pair for pair in merged if pair[0].lower() not in names] + list(extra.items())
        return merged


async def _refusal(response: StreamedResponse) -> Response:
    """The response with as much of its body as comes; a body that is cut short does not hide what the status says."""
    content = bytearray()
    with suppress(ConnectionLost):
        async for piece in response:
            content += piece
            if len(content) >= MAX_ERROR_BODY:
                break
    return Response(response.status_code, response.headers, bytes(content[:MAX_ERROR_BODY]))
