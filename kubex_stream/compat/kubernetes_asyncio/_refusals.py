"""Errors of the server as that package's exceptions, so that old ``except`` clauses go on working; ours is their ``__cause__``."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

import aiohttp
from kubernetes_asyncio.client.exceptions import ApiException

from kubex_stream.errors import ApiError

__all__ = ("HandshakeRefused", "api_exception", "body_of", "reason_of")


def reason_of(code: int) -> str:
    """The phrase of an HTTP status."""
    try:
        return HTTPStatus(code).phrase
    except ValueError:
        return "Unknown"


def body_of(error: ApiError) -> bytes:
    """The body of an answer: its Status as JSON, or else the text of it."""
    if error.status is not None and error.status.raw:
        return json.dumps(error.status.raw).encode()
    head, found, text = str(error).partition(f": {error.status_code} {reason_of(error.status_code)}")
    return (text.removeprefix(": ") if found else head).strip().encode()


class HandshakeRefused(ApiException, aiohttp.WSServerHandshakeError):  # type: ignore[misc]  # the first one is not typed
    """The server refused an exec, attach or port-forward: an ``ApiException``, and also the error of aiohttp that that package lets out.

    :ivar status: the HTTP status
    :ivar reason: its phrase
    :ivar body: the answer's body as text: a Status as JSON, where the server gave one
    """

    def __init__(self, error: ApiError) -> None:
        Exception.__init__(self, str(error))
        self.request_info = None  # type: ignore[assignment]  # it would hold the command line and the token
        self.history = ()
        _fill(self, error)
        self.message = str(error)

    def __reduce__(self) -> tuple[Any, ...]:
        return _blank, (), dict(self.__dict__)

    def __repr__(self) -> str:
        return f"<HandshakeRefused {self.status} {self.reason}>"


def _blank() -> HandshakeRefused:
    return HandshakeRefused.__new__(HandshakeRefused)


def _fill(made: Any, error: ApiError) -> None:
    made.status = error.status_code
    made.reason = reason_of(error.status_code)
    made.body = body_of(error)  # bytes: that package decodes them
    made.headers = {} if error.retry_after is None else {"Retry-After": f"{error.retry_after:g}"}


def api_exception(error: ApiError) -> ApiException:
    """The exception for a refused plain request."""
    made = ApiException(status=error.status_code)
    _fill(made, error)
    return made
