"""What exec and attach share: checking arguments, choosing what to offer, and opening the session."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import anyio

from kubex_stream.client.base import BaseClient
from kubex_stream.client.request import Request, path_of
from kubex_stream.client.websocket import WebSocketConnection
from kubex_stream.errors import ApiError, Forbidden, HalfCloseUnsupported, StartError
from kubex_stream.protocol.channels import PROTOCOLS, V4, V5
from kubex_stream.session.buffer import output_buffers
from kubex_stream.session.multiplexer import ChannelSession
from kubex_stream.session.process import OnCancel, Streams

__all__ = ("Opening", "check_name", "pod_path", "pods_path", "start_error", "tell_opened")

# A pod's name is a DNS subdomain, a namespace's and a container's a DNS label (RFC 1123, as the API server checks them).
_SUBDOMAIN: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")


def check_name(kind: str, name: object) -> str:
    """``name``, when it can be one of ``kind``.

    :raises TypeError: it is no string
    :raises ValueError: no object can have it; nothing is sent
    """
    if not isinstance(name, str):
        raise TypeError(f"the {kind} must be a string, not {type(name).__name__}")
    form, longest, marks = (_SUBDOMAIN, 253, "'-' and '.'") if kind == "pod" else (_LABEL, 63, "and '-'")
    if not form.fullmatch(name) or len(name) > longest:
        raise ValueError(
            f"{name[: longest + 1]!r} is not the name of a {kind}: at most {longest} lower-case letters, digits {marks}, with a letter or "
            "digit at either end"
        )
    return name


def pods_path(namespace: str) -> str:
    """The path of a namespace's pods.  Raises as :func:`check_name`."""
    return path_of("api", "v1", "namespaces", check_name("namespace", namespace), "pods")


def pod_path(namespace: str, name: str, *subresource: str) -> str:
    """The path of a pod, or of its subresource.  Raises as :func:`check_name`."""
    return pods_path(namespace) + path_of(check_name("pod", name), *subresource)


def start_error(error: ApiError) -> ApiError:
    """``error`` as a :class:`StartError` where it is the kubelet or the runtime that could not start the session.

    They answer with a plain text, or the API server with an InternalError for them; what the API server itself refuses has a Status
    with another reason.
    """
    internal = error.status is not None and error.status.reason == "InternalError"
    if not (internal or (error.status is None and error.status_code in (400, 404, 500))):
        return error
    return StartError(str(error), status_code=error.status_code, status=error.status, retry_after=error.retry_after)


async def tell_opened(client: BaseClient, connection: WebSocketConnection, path: str) -> None:
    """Tell the observer of a stream that is open; where that raises, nobody would close the connection."""
    try:
        client.observer.opened(path, connection.negotiated_subprotocol or "")
    except BaseException:
        with anyio.CancelScope(shield=True):
            await connection.close()
        raise


def check_encoding(encoding: str, errors: str) -> None:
    """Refuse what cannot decode text.

    :raises LookupError: there is no such encoding or error handler, or it is not one of text, as ``hex``
    """
    codecs.lookup_error(errors)
    "".encode(encoding)


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """Everything about a session that is to be opened, checked when it is made.

    :ivar merge: stderr goes where stdout goes
    :ivar ends_stdin: the session makes no sense unless stdin can be ended
    :ivar query: what the subresource wants besides the streams
    """

    client: BaseClient
    path: str
    container: str | None
    query: Sequence[tuple[str, str]] = field(default=(), repr=False)
    stdin: bool
    stdout: bool
    stderr: bool
    tty: bool
    merge: bool
    ends_stdin: bool = False
    encoding: str | None
    errors: str
    on_cancel: OnCancel
    protocols: Sequence[str] | None
    request_timeout: Any
    headers: Mapping[str, str] | None

    def __post_init__(self) -> None:
        if self.container is not None:
            check_name("container", self.container)
        if not (self.stdin or self.stdout or self.stderr):
            raise ValueError("request at least one of stdin, stdout and stderr")
        if self.encoding is not None:
            check_encoding(self.encoding, self.errors)
        if self.merge and not (self.stdout and self.stderr) and not self.tty:
            raise ValueError("stderr=STDOUT needs stdout")
        if self.on_cancel not in ("leave", "kill"):
            raise ValueError(f"on_cancel is 'leave' or 'kill', not {self.on_cancel!r}")
        self._check_protocols()

    def _check_protocols(self) -> None:
        offered = [name for offer in self.offers() for name in offer]
        for name in offered:
            row = PROTOCOLS.get(name)
            if row is None or row.base64 or not row.json_status:
                raise ValueError(f"{name!r} is not a subprotocol that can be offered: {V5.name}, {V4.name}")
        if self.on_cancel == "kill" and (V5.name in offered or (self.ends_stdin and not self.tty)):
            raise ValueError(
                "on_cancel='kill' works on v4.channel.k8s.io only, where a connection that ends without a Close kills the command; ending "
                "stdin works on v5 only. Give one of them up: no stdin, a tty, or protocols=['v4.channel.k8s.io'] with stdin left open"
            )

    def offers(self) -> list[list[str]]:
        """The subprotocols of each handshake, one after the other while they are refused.

        v5 brings the half-close of stdin and nothing else, and on it a server may lose output when its reader stalls; so it is offered
        where there is something to half-close, and elsewhere only to a server that refuses v4.
        """
        if self.protocols is not None:
            if isinstance(self.protocols, str) or not self.protocols:
                raise ValueError(
                    "protocols is a list of subprotocols, best first, as ['v5.channel.k8s.io', 'v4.channel.k8s.io']"
                )
            return [list(self.protocols)]
        if self.stdin and not self.tty:
            return [[V5.name]] if self.ends_stdin else [[V5.name, V4.name]]
        return [[V4.name]] if self.on_cancel == "kill" else [[V4.name], [V5.name]]

    def streams(self, *, text: bool = True) -> Streams:
        """The buffers for the outputs, and what else the process has to know.

        :param text: whether the outputs decode, where there is an encoding; a result is decoded as a whole instead
        """
        stderr = self.stderr and not self.tty
        outputs = output_buffers(self.client.options, stdout=self.stdout, stderr=stderr, merge=self.merge)
        return Streams(
            outputs,
            stdin=self.stdin or self.tty,
            tty=self.tty,
            encoding=self.encoding if text else None,
            errors=self.errors,
        )

    def request(self) -> Request:
        """The handshake's request.  All four booleans are sent: servers have no defaults for them, and an absent one is false."""
        flags = {
            # containerd takes the missing stdin of a tty for its end, and with it ends the output.
            "stdin": self.stdin or self.tty,
            "stdout": self.stdout,
            "stderr": self.stderr and not self.tty,
            "tty": self.tty,
        }
        query = [*self.query, *((name, "true" if flag else "false") for name, flag in flags.items())]
        if self.container is not None:
            query.insert(0, ("container", self.container))
        return Request(path=self.path, query=query, headers=self.headers or {}, timeout=self.request_timeout)

    async def connect(self, streams: Streams) -> ChannelSession:
        """Open the connection, and tell the observer."""
        request, offers = self.request(), self.offers()
        for number, offer in enumerate(offers, 1):
            try:
                connection = await self.client.connect_websocket(request, offer)
                break
            except ApiError as error:
                if not _refuses_subprotocol(error):
                    raise start_error(error) from error
                if number == len(offers):
                    raise self._without_half_close(offer) or start_error(error) from error
        assert connection.negotiated_subprotocol is not None
        await tell_opened(self.client, connection, self.path)
        return ChannelSession(
            connection,
            PROTOCOLS[connection.negotiated_subprotocol],
            self.client.options,
            path=self.path,
            outputs=streams.outputs,
            observer=self.client.observer,
        )

    def _without_half_close(self, offer: Sequence[str]) -> HalfCloseUnsupported | None:
        if not self.ends_stdin or self.tty or list(offer) != [V5.name]:
            return None
        return HalfCloseUnsupported(
            f"the input needs an end, and the server does not speak {V5.name} (Kubernetes 1.30), which alone has one; nothing was started. "
            "stream(stdin=True) works with a command that knows the end of its input by itself, as `head -c N` does"
        )

    def left(self) -> Callable[[BaseException | None], None]:
        """Tells the observer of the session's end."""
        return lambda error: self.client.observer.closed(self.path, error)


def _refuses_subprotocol(error: ApiError) -> bool:
    # A server without a common subprotocol answers 403 without a body; gateways that know only v5 have been seen to answer 400.
    return error.status is None and (isinstance(error, Forbidden) or error.status_code == 400)
