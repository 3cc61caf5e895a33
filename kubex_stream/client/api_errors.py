"""From an HTTP error to an exception: the one place where that is decided, for REST and for handshakes alike."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final

from kubex_stream.client.request import Response
from kubex_stream.errors import ApiError, Forbidden, Gone, NotFound, TooManyRequests, Unauthorized
from kubex_stream.protocol.status import Status, parse_status

__all__ = ("MAX_ERROR_BODY", "api_error")

#: As much of an error's body as is read; client-go reads the same (transport/websocket/roundtripper.go).
MAX_ERROR_BODY: Final = 64 * 1024

_CLASSES: Final[dict[int, type[ApiError]]] = {
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    410: Gone,
    429: TooManyRequests,
}
_STREAMS: Final = ("exec", "attach", "portforward")


def api_error(response: Response, *, method: str, path: str, subprotocols: Sequence[str] = ()) -> ApiError:
    """The exception for an HTTP error.

    :param path: without its query, which for exec is the command line
    :param subprotocols: those that were offered, for a WebSocket handshake
    """
    status = parse_status(response.content[:MAX_ERROR_BODY])
    code = response.status_code
    text = status.message if status is not None else _plain(response.content if code >= 400 else b"")
    message = f"{method} {path}: {code} {_phrase(code)}" + (f": {text.strip()}" if text.strip() else "")
    return _CLASSES.get(code, ApiError)(
        message + _hint(code, path, status, subprotocols if not response.content else ()),
        status_code=code,
        status=status,
        retry_after=_retry_after(response, status),
    )


def _plain(content: bytes) -> str:
    text = " ".join(content[:2000].decode("utf-8", "replace").split())[:1000]
    # A terminal that shows the error must not take parts of it for commands.
    return "".join(character if character.isprintable() else "\ufffd" for character in text)


def _phrase(code: int) -> str:
    try:
        return HTTPStatus(code).phrase
    except ValueError:
        return "Unknown"


def _hint(code: int, path: str, status: Status | None, refused_subprotocols: Sequence[str]) -> str:
    if 300 <= code < 400:
        return " (redirects are not followed, since they would take the credentials along)"
    subresource = path.rpartition("/")[2]
    if code != 403 or subresource not in _STREAMS:
        return ""
    if status is None:
        # golang.org/x/net/websocket answers an offer without a common subprotocol with a 403 that has no body at all.
        names = ", ".join(refused_subprotocols)
        return (
            f" (the server, or a gateway before it, speaks none of the offered subprotocols: {names})" if names else ""
        )
    rule = f"a role needs the verbs `get` and, since Kubernetes 1.35, `create` on `pods/{subresource}`"
    if status.message.rstrip().endswith("forbidden:"):
        return f" no reason given, which is how a missing `create` looks; {rule}"
    return f" ({rule})"


def _retry_after(response: Response, status: Status | None) -> float | None:
    value = response.header("retry-after")
    if value is None:
        asked = None if status is None else status.retry_after
        return asked if asked is not None and asked >= 0 else None
    if value.isascii() and value.strip().isdigit():
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return None
