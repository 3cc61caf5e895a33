"""The whole output of a stream, as that package's calls give it unless told otherwise."""

from __future__ import annotations

from collections.abc import Awaitable

import anyio

from kubex_stream.compat.kubernetes_asyncio._refusals import HandshakeRefused
from kubex_stream.compat.kubernetes_asyncio._response import WsResponse
from kubex_stream.errors import ProtocolViolation, StartError, StreamError, StreamTimeout
from kubex_stream.protocol.channels import ERROR_CHANNEL
from kubex_stream.protocol.status import Failed, Garbled, decode_ending

__all__ = ("whole_output",)


async def whole_output(opening: Awaitable[WsResponse], timeout: float | None) -> str:
    """stdout and stderr as they came, as one text; what is no UTF-8 becomes U+FFFD.  The exit code is not told, as there.

    :param timeout: seconds for everything
    :raises HandshakeRefused: the server refused, or could not start the process
    :raises StreamTimeout: too late; ``.stdout`` holds what had come
    :raises StreamError: the connection broke; likewise
    """
    output = bytearray()
    with anyio.move_on_after(timeout) as scope:
        response = await opening
        async with response:
            try:
                while True:
                    channel, data = await response.read_channel()
                    if channel == ERROR_CHANNEL:
                        _check(data)
                    else:
                        output += data
            except EOFError:
                pass
            except StreamError as error:
                error.stdout = bytes(output)
                raise
    if scope.cancelled_caught:
        raise StreamTimeout(f"not all of the output came within {timeout:g} s", stdout=bytes(output))
    return output.decode("utf-8", "replace")


def _check(data: bytes) -> None:
    ending, status = decode_ending(data)
    if isinstance(ending, Failed):
        code = status.code if status is not None and status.code else 500
        raise HandshakeRefused(StartError(ending.message, status_code=code, status=status))
    if isinstance(ending, Garbled):
        raise ProtocolViolation("the Status cannot be read", raw=data)
