"""``WsApiClient``: that package's ApiClient, whose streams and requests are this library's."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Generator, Mapping, Sequence
from functools import partial
from typing import Any, Final, Self

import anyio
import kubernetes_asyncio
from anyio import to_thread
from kubernetes_asyncio.client import ApiClient, Configuration
from kubernetes_asyncio.client.exceptions import ApiException, ApiValueError
from kubernetes_asyncio.client.rest import RESTResponse

from kubex_stream._version import __version__
from kubex_stream.client.base import BaseClient
from kubex_stream.client.client import create_client
from kubex_stream.client.event_loops import running_event_loop
from kubex_stream.client.options import ClientOptions
from kubex_stream.client.registry import load_backend
from kubex_stream.compat.kubernetes_asyncio._frames import Frames
from kubex_stream.compat.kubernetes_asyncio._opening import open_port, open_process
from kubex_stream.compat.kubernetes_asyncio._plain import Head, Reply, RestClient, rest_response
from kubex_stream.compat.kubernetes_asyncio._refusals import HandshakeRefused
from kubex_stream.compat.kubernetes_asyncio._requests import (
    Query,
    StreamPath,
    headers_of,
    pairs,
    port_of,
    timeout_of,
)
from kubex_stream.compat.kubernetes_asyncio._response import WsResponse
from kubex_stream.compat.kubernetes_asyncio._status import ErrorInfo, parse_error_data
from kubex_stream.compat.kubernetes_asyncio._whole import whole_output
from kubex_stream.configuration import ClientConfiguration
from kubex_stream.core.params import Timeout
from kubex_stream.errors import ApiError
from kubex_stream.protocol.channels import STDIN_CHANNEL

__all__ = ("WsApiClient",)

_STREAM_TEMPLATE: Final = re.compile(r"/pods/[^/]+/(exec|attach|portforward)$")


class _Done(Awaitable[None]):
    """Whether it is awaited or not, all is done."""

    def __await__(self) -> Generator[Any, None, None]:
        yield from ()


class WsApiClient(ApiClient):
    """The ``api_client`` of that package's generated APIs, for streams and for everything else: ``client.CoreV1Api(WsApiClient())``.

    ``connect_get_namespaced_pod_exec``, ``…_attach`` and ``…_portforward`` give an open :class:`WsResponse`; all other calls give what they
    always gave.  Opened by its first request; close it, or use ``async with``.

    :param configuration: a ``Configuration`` of that package, with its refresh hook, or a :class:`~kubex_stream.ClientConfiguration`; None
        for that package's default, as ``config.load_config()`` sets it
    :param header_name: a header for every request
    :param header_value: its value
    :param cookie: a ``Cookie`` header for every request
    :param pool_threads: as there, for ``async_req``
    :param heartbeat: seconds between the pings of an open stream; None for those of ``options``
    :param preload: streaming calls give the whole output as text, as they do there unless ``_preload_content=False`` is passed
    :param backend: the name or class of a backend, as of :func:`~kubex_stream.create_client`
    :param options: how to work
    :param client: an open client of this library to use instead; it stays its owner's to close, and has its own configuration and options
    :raises TypeError: things that do not go together
    :raises BackendNotAvailable: there is no such backend
    """

    def __init__(
        self,
        configuration: Configuration | ClientConfiguration | None = None,
        header_name: str | None = None,
        header_value: str | None = None,
        cookie: str | None = None,
        pool_threads: int = 1,
        heartbeat: float | None = None,
        *,
        preload: bool = False,
        backend: str | type[BaseClient] | None = None,
        options: ClientOptions | None = None,
        client: BaseClient | None = None,
    ) -> None:
        # ApiClient.__init__ is left out: it would make an HTTP session of its own, which needs a running loop and has to be closed.
        if client is not None and not (
            configuration is None and heartbeat is None and backend is None and options is None
        ):
            raise TypeError("a client that is given has its configuration, heartbeat, backend and options already")
        if client is not None and not isinstance(client, BaseClient):
            raise TypeError(f"client is one of create_client(), not {type(client).__name__}")
        if isinstance(backend, BaseClient):
            raise TypeError("backend is a name or a class here; pass an open client as client=")
        if isinstance(backend, str):
            load_backend(backend)  # one that is missing is told now
        self.configuration = _package_configuration(configuration, client)
        self.pool_threads = pool_threads
        self._rest = RestClient(self._opened, self._path)
        self.rest_client = self._rest  # type: ignore[assignment]  # it does what that one does
        self.default_headers: dict[str, str] = {}
        if header_name is not None:
            self.default_headers[header_name] = "" if header_value is None else header_value
        self.cookie = cookie  # type: ignore[assignment]  # None is its own default
        self.user_agent = f"kubernetes_asyncio/{kubernetes_asyncio.__version__} kubex-stream/{__version__}"
        self.client_side_validation = self.configuration.client_side_validation
        self.heartbeat = heartbeat
        self.preload = preload
        self._given = configuration
        self._backend = backend
        self._options = _options(options, heartbeat, self.configuration)
        self._client = client
        self._owned = client is None
        self._opening = anyio.Lock()
        self._responses: set[WsResponse] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False

    @staticmethod
    def parse_error_data(error_data: str | bytes | bytearray | memoryview) -> ErrorInfo:
        """What came on ``ERROR_CHANNEL``: a dict that is also the exit code.  See :func:`parse_error_data`."""
        return parse_error_data(error_data)

    async def close(self) -> None:
        """Close every stream and the client underneath; calling it again does nothing.

        :raises RuntimeError: it was opened in another event loop, which still runs
        """
        if self._loop is not None and self._loop.is_closed():
            self._forget()
        self._check_loop()
        self._closed = True
        for response in [*self._responses]:
            await response.close()
        await super().close()
        if self._owned and self._client is not None:
            await self._client.aclose()

    async def __aenter__(self) -> Self:
        return self

    # Requests ---------------------------------------------------------------------------------------------------------

    def call_api(self, resource_path: str, method: str, *args: Any, **kwargs: Any) -> Any:
        """As that package's; a stream is handed out as it is, whatever ``_preload_content`` says, unless this client preloads."""
        if _STREAM_TEMPLATE.search(resource_path):
            whole = self.preload and kwargs.get("_preload_content", True)
            kwargs["_preload_content"] = False
            called = super().call_api(resource_path, method, *args, **kwargs)
            if not whole:
                return called
            if kwargs.get("async_req"):
                raise ApiValueError(
                    "async_req calls from a thread, where nothing can be preloaded: await the call instead"
                )
            return self._preloaded(called, kwargs)
        return super().call_api(resource_path, method, *args, **kwargs)

    async def _preloaded(self, called: Awaitable[WsResponse], given: Mapping[str, Any]) -> Any:
        seconds = _total(given.get("_request_timeout"))
        try:
            text = await whole_output(called, seconds)
        except ApiException as error:
            if isinstance(error.body, bytes):
                error.body = error.body.decode()  # type: ignore[assignment]  # as that package does it
            raise
        return text if given.get("_return_http_data_only") else (text, 200, {})

    async def request(
        self,
        method: str,
        url: str,
        query_params: Mapping[str, object] | Sequence[tuple[str, object]] | None = None,
        headers: Mapping[str, object] | None = None,
        post_params: object = None,
        body: object = None,
        _preload_content: bool = True,
        _request_timeout: object = None,
    ) -> WsResponse | RESTResponse | Reply:
        """Make a request: exec, attach and port-forward of a pod as a stream, everything else as it is.

        :param url: of the server that this client is configured for
        :param body: of a stream: bytes to send on stdin at once
        :param _request_timeout: seconds, a pair (connect, read) or an ``aiohttp.ClientTimeout``.  It bounds the opening of a stream; with
            ``preload`` the whole of it
        :returns: a :class:`WsResponse` for a stream
        :raises HandshakeRefused: the server refused a stream: an ``ApiException``
        :raises ApiException: it refused a plain request
        :raises ApiValueError: arguments that make no sense; nothing is sent
        :raises ConnectionFailed: no connection could be made; a ConnectionError
        :raises PortForwardError: a port-forward was refused in its tunnel; a ConnectionError
        :raises StreamTimeout: too late; an asyncio.TimeoutError
        """
        stream = StreamPath.parse(self._path(url))
        if stream is None:
            return await self._rest.request(
                method, url, query_params=query_params, headers=headers, post_params=post_params, body=body,
                _preload_content=_preload_content, _request_timeout=_request_timeout,
            )  # fmt: skip
        opened = self._open_stream(stream, pairs(query_params), headers_of(headers), _request_timeout, body)
        if not (self.preload and _preload_content):
            return await opened
        text = await whole_output(opened, _total(_request_timeout))
        return rest_response(Head(200, ()), text.encode())

    async def _open_stream(
        self, stream: StreamPath, query: Query, headers: dict[str, str], timeout: object, body: object
    ) -> WsResponse:
        if body is not None and not isinstance(body, bytes | bytearray | memoryview):
            raise ApiValueError(f"the body of a stream is bytes for its stdin, not {type(body).__name__}")
        client = await self._opened()
        try:
            if stream.subresource == "portforward":
                frames: Frames = await open_port(client, stream, port_of(query), headers, timeout)
            else:
                frames = await open_process(client, stream, query, headers, timeout)
        except ApiError as error:
            raise HandshakeRefused(error) from error
        except ApiValueError:
            raise
        except ValueError as error:
            raise ApiValueError(str(error)) from error
        response = WsResponse(frames)
        response._on_end(self._responses.discard)
        self._responses.add(response)
        if body:
            try:
                await response.write_channel(STDIN_CHANNEL, body)
            except BaseException:
                await response.close()
                raise
        return response

    # Opening ----------------------------------------------------------------------------------------------------------

    def update_params_for_auth(  # type: ignore[override]  # a function in older versions, a coroutine function in newer ones
        self,
        headers: dict[str, Any],
        queries: list[Any],
        auth_settings: object,  # noqa: ARG002  (its order is that package's)
        request_auth: dict[Any, Any] | None = None,
    ) -> Awaitable[None]:
        """Credentials are the underlying client's, which renews them; only those of a single call are set here."""
        if request_auth:
            self._apply_auth_params(headers, queries, request_auth)  # type: ignore[attr-defined]
        return _Done()

    async def _opened(self) -> BaseClient:
        self._check_open()
        if running_event_loop() != "asyncio":
            raise RuntimeError("kubernetes_asyncio runs on asyncio only; on other event loops use kubex_stream.Pods")
        self._check_loop()
        async with self._opening:
            if self._client is None:
                configuration = await self._configured()
                client = await create_client(configuration, options=self._options, backend=self._backend)
                try:
                    self._check_open()
                except RuntimeError:
                    await client.aclose()
                    raise
                self._client = client
            self._loop = asyncio.get_running_loop()
        return self._client

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError("this WsApiClient is closed")

    def _forget(self) -> None:
        """What was open went with its event loop."""
        self._loop = self._client = None
        self._responses.clear()
        self._rest.forget()

    def _check_loop(self) -> None:
        if self._loop not in (None, asyncio.get_running_loop()):
            raise RuntimeError(
                "this WsApiClient was opened in another event loop, and serves no other; make one in each asyncio.run()"
            )

    async def _configured(self) -> ClientConfiguration:
        if isinstance(self._given, ClientConfiguration):
            return self._given
        # Nothing given and nothing loaded is told as such, instead of by a refused connection.
        unset = self._given is None and self.configuration.host == Configuration().host
        source = None if unset else self.configuration
        return await to_thread.run_sync(partial(ClientConfiguration.from_kubernetes_asyncio, source))

    def _path(self, url: str) -> str:
        """The path of a URL below the server that this client is for; credentials go nowhere else."""
        host = str(self.configuration.host).rstrip("/")
        for known in (host, re.sub("^http", "ws", host)):
            if url.startswith(known) and url[len(known) : len(known) + 1] in ("/", ""):
                return "/" + url[len(known) :].lstrip("/")
        raise ApiValueError(f"this client is for {host}, and goes to no other server")


def _package_configuration(given: object, client: BaseClient | None) -> Configuration:
    if isinstance(given, Configuration):
        return given
    if client is not None:
        given = client.configuration
    if isinstance(given, ClientConfiguration):
        made = Configuration(host=given.url)
        made.is_address_only = True  # for from_kubernetes_asyncio: credentials and authorities are elsewhere
        return made
    if given is None:
        return Configuration.get_default_copy()
    raise TypeError(
        f"configuration is a kubernetes_asyncio.client.Configuration or a kubex_stream.ClientConfiguration, not {type(given).__name__}"
    )


def _options(given: ClientOptions | None, heartbeat: float | None, configuration: Configuration) -> ClientOptions:
    wanted: dict[str, object] = {} if heartbeat is None else {"heartbeat": ClientOptions(heartbeat=heartbeat).heartbeat}
    if given is None:
        wanted["pool_size"] = ClientOptions(pool_size=configuration.connection_pool_maxsize or None).pool_size
    return (given or ClientOptions()).model_copy(update=wanted)


def _total(given: object) -> float | None:
    timeout = timeout_of(given)
    return timeout.total if isinstance(timeout, Timeout) else None
