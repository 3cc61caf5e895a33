"""What the error channel says, and URLs."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from kubex_stream.protocol.status import Exited, decode_ending

__all__ = ("ErrorInfo", "get_websocket_url", "parse_error_data")

_SCHEMES = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}


class ErrorInfo(dict[str, Any]):
    """The Status of the error channel: its JSON object, which knows its exit code.

    The document of ``kubernetes_asyncio`` calls this a dict, ``info.get("status")``; the package itself gives the exit code, as in
    ``if WsApiClient.parse_error_data(data) != 0``.  Both work: it is true where the command failed, equals its exit code, and ``int()``
    gives that.
    """

    @property
    def exit_code(self) -> int | None:
        """The command's exit code; None where there is none: it was not started, or the runtime gave it up."""
        ending, _ = decode_ending(json.dumps(self).encode())
        return ending.code if isinstance(ending, Exited) else None

    def __int__(self) -> int:
        code = self.exit_code
        if code is None:
            raise ValueError(
                f"there is no exit code: the Status is a {self.get('reason') or 'failure'} of the server's"
            )
        return code

    def __bool__(self) -> bool:
        return self.exit_code != 0

    def __eq__(self, other: object) -> bool:
        if isinstance(other, int):
            return self.exit_code == other
        return super().__eq__(other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = None  # as of every dict


def parse_error_data(error_data: str | bytes | bytearray | memoryview) -> ErrorInfo:
    """What came on ``ERROR_CHANNEL``, parsed.

    :raises TypeError: neither text nor bytes
    :raises ValueError: no JSON object
    """
    if not isinstance(error_data, str | bytes | bytearray | memoryview):
        raise TypeError(f"the data of the error channel is bytes or text, not {type(error_data).__name__}")
    try:
        value = json.loads(error_data if isinstance(error_data, str) else bytes(error_data))
    except (ValueError, RecursionError) as error:
        raise ValueError("this is no Status: what the error channel carries is a JSON object") from error
    if not isinstance(value, dict):
        raise ValueError(f"this is no Status but a JSON {type(value).__name__}: the error channel carries an object")
    return ErrorInfo(value)


def get_websocket_url(url: str) -> str:
    """``url`` with the scheme of WebSockets: ``http`` becomes ``ws``, ``https`` becomes ``wss``.

    :raises TypeError: no string
    :raises ValueError: another scheme, or none
    """
    if not isinstance(url, str):
        raise TypeError(f"a URL is a string, not {type(url).__name__}")
    parts = urlsplit(url)
    if parts.scheme not in _SCHEMES or not parts.netloc:
        raise ValueError("a URL that begins with http://, https://, ws:// or wss:// and a host is needed")
    return urlunsplit(parts._replace(scheme=_SCHEMES[parts.scheme]))
