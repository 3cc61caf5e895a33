"""How a client behaves: one frozen model, the same for every backend."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from types import EllipsisType
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from kubex_stream.client.request import check_header_value, check_headers
from kubex_stream.configuration.impersonation import Impersonation
from kubex_stream.core.params import Timeout

__all__ = ("ClientOptions", "resolve_ws_max_message_size")

#: The reference's default, 64 times what a Kubernetes server sends in a message.
DEFAULT_WS_MAX_MESSAGE_SIZE: Final = 2**21


def _ellipsis() -> EllipsisType:
    return ...  # given directly, pydantic would take it for "required"


def _positive(value: int | EllipsisType | None) -> int | EllipsisType | None:
    if isinstance(value, int) and value <= 0:
        raise ValueError("must be positive, None or ...")
    return value


def _not_negative(value: float | EllipsisType | None) -> float | EllipsisType | None:
    if isinstance(value, int | float) and value < 0:
        raise ValueError("must not be negative")
    return value


def _coerce_timeout(value: Any) -> Any:
    if isinstance(value, Mapping) and value.keys() <= set(Timeout.__slots__):
        return Timeout(**value)  # as model_dump() gives it
    return value if value is ... else Timeout.coerce(value)


def _user_agent(value: str) -> str:
    check_header_value("User-Agent", value)
    return value


def check_proxy_url(value: str) -> str:
    """``value``, when it is the URL of an HTTP proxy.

    :raises ValueError: it is not; the text never shows the URL, which may hold a password
    """
    try:
        parts = urlsplit(value)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets or a port that are none; its text may show the password
        usable = False
    if not usable or not value.isprintable() or " " in value:
        raise ValueError(
            "a proxy is an http:// or https:// URL with a host, as http://proxy.example.com:8080; SOCKS is not supported"
        )
    return value


# Strict types, so that True is not taken for 1 and "5" not for 5.
_Size = Annotated[int, Field(gt=0, strict=True)]
_Seconds = Annotated[float, Field(gt=0, strict=True, allow_inf_nan=False)]
_LimitOrDefault = Annotated[Annotated[int, Field(strict=True)] | EllipsisType | None, AfterValidator(_positive)]
_IdleOrDefault = Annotated[
    Annotated[float, Field(strict=True, allow_inf_nan=False)] | EllipsisType | None, AfterValidator(_not_negative)
]
_TimeoutOrDefault = Annotated[Timeout | float | EllipsisType | None, BeforeValidator(_coerce_timeout)]


class ClientOptions(BaseModel):
    """Choices of the application about how a client works; what a cluster is and who you are is a
    :class:`~kubex_stream.ClientConfiguration`.

    Where a field takes them, ``...`` means the default of this library or of the backend's, ``None`` means off or unlimited, and a value
    is that value.  What a backend cannot do is a :class:`UserWarning` when the client is created, never silence.

    ================== ============================================== ==============================================
    field              aiohttp                                        httpx
    ================== ============================================== ==============================================
    buffer_size        as given                                       no such setting: warning
    pool_size_per_host as given                                       no such setting: warning
    keep_alive_timeout ``None`` is not possible: warning              as given
    timeout.write      no such limit: warning                         as given
    ================== ============================================== ==============================================

    With picows everything is as with aiohttp, which makes its plain requests and its handshakes.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", arbitrary_types_allowed=True, validate_default=True, hide_input_in_errors=True
    )

    #: Turn each ``Warning`` header of a response into a :class:`UserWarning`.
    log_api_warnings: Annotated[bool, Field(strict=True)] = True
    #: A plain request as a whole, and a stream until it is open.  A number is a ``Timeout(total=…)`` in seconds.
    #: ``...``: the backend's own default (aiohttp: 300 s in all; httpx: 5 s a phase).
    timeout: _TimeoutOrDefault = Field(default_factory=_ellipsis)
    #: An ``http://`` or ``https://`` proxy for everything, or one per scheme of the API server: ``{"https": "http://proxy:8080"}``.
    #: It wins over the kubeconfig's ``proxy-url``.  Never shown in a repr.
    proxy: str | Mapping[Literal["http", "https"], str] | None = Field(default=None, repr=False)
    #: Whether idle connections are kept for the next request.
    keep_alive: Annotated[bool, Field(strict=True)] = True
    #: Seconds that an idle connection is kept.  ``...``: aiohttp 15, httpx 5.
    keep_alive_timeout: _IdleOrDefault = Field(default_factory=_ellipsis)
    #: Bytes of the read buffer of plain responses.  ``...``: 2 MiB; ``None``: aiohttp's own default.
    buffer_size: _LimitOrDefault = Field(default_factory=_ellipsis)
    #: Bytes of the largest WebSocket message that is accepted; a larger one is a ProtocolViolation.  ``...``: 2 MiB; ``None``: no limit.
    ws_max_message_size: _LimitOrDefault = Field(default_factory=_ellipsis)
    #: Connections for plain requests.  Open streams never count.  ``...``: 100; ``None``: no limit.
    pool_size: _LimitOrDefault = Field(default_factory=_ellipsis)
    #: The same for each host.  ``...`` and ``None``: no limit.
    pool_size_per_host: _LimitOrDefault = Field(default_factory=_ellipsis)
    #: Read ``HTTPS_PROXY``, ``HTTP_PROXY`` and ``NO_PROXY`` (suffixes, addresses, CIDR blocks, ports) of the environment.
    trust_env: Annotated[bool, Field(strict=True)] = False

    #: Seconds that opening a stream may take in all, retries and credential plugins included.  ``None``: only ``timeout`` limits it.
    open_timeout: _Seconds | None = 60.0
    #: Seconds that leaving a stream waits for the server's Close before it drops the connection.
    close_timeout: _Seconds = 1.0
    #: Seconds between the pings of an open stream; ``None``: no keep-alive.
    heartbeat: _Seconds | None = 10.0
    #: Seconds without any sign of life, while somebody waits for output, after which a stream counts as lost.  ``None``: never.
    #: A server that is busy with stdin answers no pings, so below 60 s this ends healthy streams (protocol fact of every server).
    heartbeat_timeout: _Seconds | None = 60.0
    #: Payload bytes of a stdin message.
    stdin_chunk_size: Annotated[int, Field(gt=0, le=16 * 1024 * 1024, strict=True)] = 64 * 1024
    #: Bytes that each of stdout and stderr keeps in memory for a consumer that is not reading.
    stream_buffer_size: _Size = 1024 * 1024
    #: Bytes that a v5 session keeps in a temporary file for a consumer that stalls, before it stops reading; 0: no file.
    spool_limit: Annotated[int, Field(ge=0, strict=True)] = 1024 * 1024 * 1024
    #: Headers added to every request, those of WebSocket handshakes included.  They may hold secrets and are never shown.
    headers: Mapping[str, str] = Field(default_factory=dict, repr=False)
    #: The ``User-Agent``; ``None``: ``kubex-stream/VERSION``.
    user_agent: Annotated[str, Field(min_length=1), AfterValidator(_user_agent)] | None = None
    #: Act as somebody else; wins over the kubeconfig's ``as``.
    impersonate: Impersonation | None = None
    #: A TLS context to use as it is, instead of one made from the configuration.
    ssl_context: ssl.SSLContext | None = None
    #: How often a 429 or 503 answer is retried, waiting as ``Retry-After`` says or with a growing, jittered delay of at most 30 s.
    retries: Annotated[int, Field(ge=0, le=100, strict=True)] = 3

    @field_validator("proxy")
    @classmethod
    def _check_proxy(cls, value: str | Mapping[str, str] | None) -> str | Mapping[str, str] | None:
        for url in value.values() if isinstance(value, Mapping) else [value] if value is not None else []:
            check_proxy_url(url)
        return value

    @field_validator("headers")
    @classmethod
    def _check_headers(cls, value: Mapping[str, str]) -> Mapping[str, str]:
        check_headers(value)
        return value

    def proxy_for(self, scheme: str) -> str | None:
        """The proxy for URLs of ``scheme``, ``http`` or ``https``; None for none."""
        if self.proxy is None or isinstance(self.proxy, str):
            return self.proxy
        return self.proxy.get("https") if scheme == "https" else self.proxy.get("http")


def resolve_ws_max_message_size(value: int | EllipsisType | None) -> int:
    """``ClientOptions.ws_max_message_size`` as a number of bytes; 0 stands for no limit."""
    if value is None:
        return 0
    return DEFAULT_WS_MAX_MESSAGE_SIZE if isinstance(value, EllipsisType) else value
