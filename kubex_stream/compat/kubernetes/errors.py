"""What this library raises, as the exceptions that users of the official client catch."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from kubex_stream.compat.kubernetes.official import client as official
from kubex_stream.errors import (
    ApiError,
    ConnectionFailed,
    ConnectionLost,
    Gone,
    KubexClientException,
    StartError,
    StreamError,
    StreamTimeout,
)

if TYPE_CHECKING:

    class ApiException(Exception):
        """The official client's."""

        status: Any
        reason: Any
        body: Any
        headers: Any

        def __init__(self, status: object = None, reason: object = None) -> None: ...

else:
    ApiException = official.ApiException

__all__ = ("StreamConnectionException", "StreamException", "StreamTimeoutException", "api_exception", "translated")


class StreamException(ApiException):
    """A stream failed: an ``ApiException`` of status 0, as there was no answer of the API to give it one.

    ``__cause__`` is what this library calls it.

    :ivar stdout: what the command had written until then, where it was being kept; otherwise None
    """

    stdout: bytes | str | None = None


class StreamConnectionException(StreamException, ConnectionError):
    """The connection could not be made, or it broke."""


class StreamTimeoutException(StreamException, TimeoutError):
    """Something took longer than ``_request_timeout`` allows."""


_CLASSES = {
    400: "BadRequestException",
    401: "UnauthorizedException",
    403: "ForbiddenException",
    404: "NotFoundException",
    409: "ConflictException",
    422: "UnprocessableEntityException",
}


def _class_of(code: int) -> Any:
    """The exception that the installed package has for a code; older ones have ``ApiException`` only."""
    name = "ServiceException" if 500 <= code <= 599 else _CLASSES.get(code, "ApiException")
    return getattr(official.exceptions, name, official.ApiException)


def api_exception(error: KubexClientException) -> ApiException:
    """The ``ApiException`` for an error, which becomes its cause."""
    made: Any
    if isinstance(error, ApiError):
        made = _class_of(error.status_code)(status=error.status_code, reason=_reason(error))
        if error.status is not None:
            made.body = json.dumps(dict(error.status.raw)) if error.status.raw else None
        if isinstance(error, StartError):
            made.stdout = error.stdout
    else:
        lost = isinstance(error, ConnectionFailed | ConnectionLost)
        kind = (
            StreamTimeoutException
            if isinstance(error, StreamTimeout)
            else StreamConnectionException
            if lost
            else StreamException
        )
        made = kind(status=0, reason=str(error))
        if isinstance(error, StreamError):
            made.stdout = error.stdout
    made.__cause__ = error
    exception: ApiException = made
    return exception


def _reason(error: ApiError) -> str:
    if isinstance(error, Gone) and error.status is not None:
        return f"{error.status.reason}: {error.status.message}"  # as the official Watch words it
    return str(error)


@contextmanager
def translated() -> Iterator[None]:
    """Raise ``ApiException`` for what a server, or the way to it, is to blame for; wrong arguments and settings stay what they are."""
    try:
        yield
    except (ApiError, ConnectionFailed, StreamError) as error:
        raise api_exception(error) from error
