"""``stream``: exec and attach, called as the official client's function of this name is."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, AnyStr, Literal, overload

from kubex_stream.api.exec import check_command
from kubex_stream.api.request import Opening
from kubex_stream.client.base import BaseClient
from kubex_stream.compat.kubernetes.calls import Call, recorded
from kubex_stream.compat.kubernetes.clients import lease_of
from kubex_stream.compat.kubernetes.errors import translated
from kubex_stream.compat.kubernetes.inbox import Inbox
from kubex_stream.compat.kubernetes.loop import background
from kubex_stream.compat.kubernetes.pieces import Pieces, binary_pieces, text_pieces
from kubex_stream.compat.kubernetes.session import Session
from kubex_stream.compat.kubernetes.ws_client import WSClient
from kubex_stream.core.params import Timeout
from kubex_stream.errors import StartError, StreamError
from kubex_stream.protocol.channels import STDERR_CHANNEL, STDOUT_CHANNEL
from kubex_stream.session.capture import run
from kubex_stream.session.process import ExecProcess, SessionScope
from kubex_stream.session.streams import OutputStream

__all__ = ("RequestTimeout", "stream", "time_limits")

#: Seconds, or those for the connection and those for what comes then.
RequestTimeout = float | tuple[float | None, float | None] | None
_FLAGS = ("stdin", "stdout", "stderr", "tty", "container")


@overload
def stream(
    api_method: Callable[..., Any],
    *args: Any,
    binary: Literal[False] = ...,
    _preload_content: Literal[False],
    _request_timeout: RequestTimeout = ...,
    **kwargs: Any,
) -> WSClient[str]: ...


@overload
def stream(
    api_method: Callable[..., Any],
    *args: Any,
    binary: Literal[True],
    _preload_content: Literal[False],
    _request_timeout: RequestTimeout = ...,
    **kwargs: Any,
) -> WSClient[bytes]: ...


@overload
def stream(
    api_method: Callable[..., Any],
    *args: Any,
    binary: Literal[False] = ...,
    _preload_content: Literal[True] = ...,
    _request_timeout: RequestTimeout = ...,
    **kwargs: Any,
) -> str: ...


@overload
def stream(
    api_method: Callable[..., Any],
    *args: Any,
    binary: Literal[True],
    _preload_content: Literal[True] = ...,
    _request_timeout: RequestTimeout = ...,
    **kwargs: Any,
) -> bytes: ...


def stream(
    api_method: Callable[..., Any],
    *args: Any,
    binary: bool = False,
    _preload_content: bool = True,
    _request_timeout: RequestTimeout = None,
    **kwargs: Any,
) -> WSClient[str] | WSClient[bytes] | str | bytes:
    """Run a command, or attach: ``stream(v1.connect_get_namespaced_pod_exec, name, namespace, command=[…], stdout=True)``.

    :param api_method: ``connect_get_namespaced_pod_exec`` or ``…_attach`` of a ``CoreV1Api``, not called
    :param args, kwargs: what the method takes
    :param binary: output as bytes, instead of text in UTF-8, in which a wrong byte is U+FFFD
    :param _preload_content: True waits for the end and gives all that was written, stdout and stderr as they came; False gives a
        :class:`WSClient` as soon as the session is open
    :param _request_timeout: seconds for all of it, or with ``_preload_content=False`` until it is open; a pair has seconds until it is open,
        and seconds for what comes then
    :raises ApiException: the server refused, with its status, reason and body; the command did not start; with ``_preload_content``, the
        connection broke, or it took too long: ``.stdout`` is what came until then
    :raises TypeError, ValueError: wrong arguments; nothing is sent
    """
    opened, whole = time_limits(_request_timeout)
    call = recorded(api_method, args, kwargs)
    opening = partial(_opening, call, request_timeout=... if opened is None else opened)
    _, _, subresource = call.pod("exec", "attach")
    if subresource == "exec":
        check_command(call.values("command"))
    with translated():
        if not _preload_content:
            return _opened(call, opening, binary_pieces, b"\n") if binary else _opened(call, opening, text_pieces, "\n")
        return _run(call, opening, whole, bytes) if binary else _run(call, opening, whole, _text)


def _text(output: bytes) -> str:
    return output.decode("utf-8", "replace")


def time_limits(given: RequestTimeout) -> tuple[float | None, float | None]:
    """Seconds until it is open, and seconds for the whole.

    :raises TypeError, ValueError: it is neither a number of seconds nor a pair of them
    """
    pair = given if isinstance(given, tuple) else (given, given)
    if len(pair) != 2:
        raise ValueError(f"_request_timeout is a number of seconds, or a pair of them, not {given!r}")
    opened, whole = (Timeout.coerce(each) for each in pair)
    return (None if opened is None else opened.total), (None if whole is None else whole.total)


def _opened(
    call: Call, opening: Callable[..., Opening], pieces: Callable[[], Pieces[AnyStr]], newline: AnyStr
) -> WSClient[AnyStr]:
    loop = background()
    channels = {STDOUT_CHANNEL: call.flag("stdout"), STDERR_CHANNEL: call.flag("stderr") and not call.flag("tty")}
    asked = {channel: pieces() for channel, wanted in channels.items() if wanted}
    inbox = Inbox(asked)
    session = Session(loop, lease_of(loop, call.api_client), inbox)
    session.open(opening)
    return WSClient(loop, session, inbox, newline)


def _run(
    call: Call, opening: Callable[..., Opening], timeout: float | None, shaped: Callable[[bytes], AnyStr]
) -> AnyStr:
    loop = background()
    lease = lease_of(loop, call.api_client)

    async def work() -> AnyStr:
        async with lease() as client:
            made = opening(client)
            made = dataclasses.replace(made, merge=made.stdout and made.stderr and not made.tty)
            streams = made.streams()
            scope: SessionScope[ExecProcess[OutputStream]] = SessionScope(
                lambda: made.connect(streams),
                lambda session: ExecProcess(session, streams),
                on_cancel=made.on_cancel,
                left=made.left(),
            )
            try:
                done = await run(
                    scope, (), input=None, stdout=made.stdout, stderr=made.stderr and not made.merge, merge=made.merge,
                    timeout=timeout, encoding=None, errors="strict", check=False,
                )  # fmt: skip
            except (StreamError, StartError) as error:
                error.stdout = shaped(bytes(error.stdout or b"") + bytes(error.stderr or b""))  # type: ignore[arg-type]
                raise
            return shaped(done.stdout + done.stderr)

    return loop.run(work)


def _opening(call: Call, client: BaseClient, *, request_timeout: Any) -> Opening:
    headers = dict(call.headers)
    offered = next((headers.pop(name) for name in tuple(headers) if name.lower() == "sec-websocket-protocol"), None)
    return Opening(
        client=client,
        path=call.path,
        container=call.value("container"),
        query=call.without(*_FLAGS),
        stdin=call.flag("stdin"),
        stdout=call.flag("stdout"),
        stderr=call.flag("stderr"),
        tty=call.flag("tty"),
        merge=False,
        encoding=None,
        errors="strict",
        on_cancel="leave",
        protocols=None if offered is None else [name.strip() for name in offered.split(",")],
        request_timeout=request_timeout,
        headers=headers,
    )
