"""What can go wrong, as a tree.

    KubexClientException
    ├── ConfigurationError            a kubeconfig, an in-cluster file or an option is wrong; the text says which and what to do
    ├── BackendNotAvailable           no such backend here (also ImportError); names the pip command
    ├── ApiError                      the server answered with an HTTP error: .status_code .status .retry_after
    │   ├── Unauthorized  Forbidden  NotFound  Gone  TooManyRequests
    │   └── StartError                exec or attach did not start, told before or after the 101
    ├── CopyError                     a copy is not complete: .result says what was copied
    ├── ConnectionFailed              no connection could be made: DNS, TCP, TLS or a proxy (also ConnectionError)
    └── StreamError                   an open stream ended or cannot do what was asked; .statistics
        ├── ConnectionLost            it broke: .close_code (also ConnectionError)
        ├── StatusMissing             it was closed in order, and no Status said how the process ended
        ├── ProtocolViolation         the peer sent what the protocol forbids
        ├── HalfCloseUnsupported      the negotiated subprotocol cannot end stdin
        ├── UnreadChannelError        somebody waits for one channel while another, never read, is full
        ├── StdinBroken               the process takes no more input (also BrokenPipeError)
        ├── ProcessError              check=True and a non-zero exit code: .result
        ├── StreamTimeout             too late (also TimeoutError): .stdout .stderr hold what had come
        └── PortForwardError          a forwarded connection failed: .kind .port (also ConnectionError and anyio.BrokenResourceError)

Wrong arguments are TypeError or ValueError, as everywhere in Python.  No text here ever holds a token, a password, or the query of a
URL, which for exec is the command line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import anyio

from kubex_stream.protocol.status import Status

if TYPE_CHECKING:
    from kubex_stream.statistics import SessionStatistics

__all__ = (
    "ApiError",
    "BackendNotAvailable",
    "ConfigurationError",
    "ConnectionFailed",
    "ConnectionLost",
    "CopyError",
    "Forbidden",
    "Gone",
    "HalfCloseUnsupported",
    "KubexClientException",
    "NotFound",
    "PortForwardError",
    "ProcessError",
    "ProtocolViolation",
    "StartError",
    "StatusMissing",
    "StdinBroken",
    "StreamError",
    "StreamTimeout",
    "TooManyRequests",
    "Unauthorized",
    "UnreadChannelError",
)

#: What happened to a forwarded connection.
PortForwardFailure = Literal["refused", "reset", "gone", "timeout", "lost", "cut", "closed", "failed"]


class KubexClientException(Exception):
    """The root of every error that this library raises, wrong arguments excepted.  All can be pickled, so they cross process pools."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.args, self.__dict__)


def _rebuild(kind: type[KubexClientException], args: tuple[Any, ...], state: dict[str, Any]) -> KubexClientException:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class ConfigurationError(KubexClientException):
    """A configuration cannot be used.  The text names the file, the entry and the way out."""


class BackendNotAvailable(KubexClientException, ImportError):
    """The backend that was asked for, or any backend at all, is missing.  The text holds the pip command."""


class ApiError(KubexClientException):
    """The API server, or something in front of it, answered a request with an error.

    :ivar status_code: the HTTP status
    :ivar status: the Kubernetes ``Status`` of the body, None when the body held none
    :ivar retry_after: seconds that the server asked to wait, None when it did not
    """

    def __init__(
        self, message: str, *, status_code: int, status: Status | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.status_code = status_code
        self.status = status
        self.retry_after = retry_after


class Unauthorized(ApiError):
    """401: the credentials are missing, wrong or expired, also after one refresh."""


class Forbidden(ApiError):
    """403: the user may not do this.  For exec and attach the text names the RBAC verbs that are needed."""


class NotFound(ApiError):
    """404: no such object."""


class Gone(ApiError):
    """410: the resource version is too old."""


class TooManyRequests(ApiError):
    """429: the server asks for patience, also after the retries that the options allow."""


class StartError(ApiError):
    """Exec or attach did not start: container gone, program missing, not executable …

    The same failure is told in two ways, an HTTP error before the 101 or a Status on channel 3 after it, depending on the version of
    the server and the subprotocol (KEP-4006); both are this.

    :ivar stdout: what the process had written where it was being captured; not empty where the runtime gave up later than at the start
    :ivar stderr: the same of stderr
    """

    stdout: bytes | str | None = None
    stderr: bytes | str | None = None


class CopyError(KubexClientException):
    """A copy to or from a container is not complete, or cannot be made: no ``tar`` there, a damaged archive, a digest that differs …

    :ivar result: a :class:`~kubex_stream.CopyResult` of what was copied until then; None where nothing was begun
    """

    result: Any = None


class ConnectionFailed(KubexClientException, ConnectionError):
    """No connection to the API server could be made: name lookup, TCP, TLS or a proxy failed."""


class StreamError(KubexClientException):
    """An open stream failed.

    :ivar statistics: what had been carried until then, None when the stream never opened
    :ivar stdout: what the process had written, where ``run`` was capturing it; otherwise None
    :ivar stderr: the same of stderr
    """

    stdout: bytes | str | None = None
    stderr: bytes | str | None = None

    def __init__(self, message: str, *, statistics: SessionStatistics | None = None) -> None:
        super().__init__(message if statistics is None else f"{message} ({statistics})")
        self.statistics = statistics


class ConnectionLost(StreamError, ConnectionError):
    """The connection broke before the stream had ended.

    :ivar close_code: the WebSocket close code, None when TCP ended without a Close frame
    """

    def __init__(
        self, message: str, *, close_code: int | None = None, statistics: SessionStatistics | None = None
    ) -> None:
        super().__init__(message, statistics=statistics)
        self.close_code = close_code


class StatusMissing(StreamError):
    """The server closed the stream in order but never said how the process ended: there is no exit code to report."""


class ProtocolViolation(StreamError):
    """The peer sent what the protocol forbids: a text frame, a frame over the limit, a Status that is none …

    :ivar raw: what it sent, where that is a text for channel 3; on v4 the command line may be in it, so it is in no message
    """

    def __init__(self, message: str, *, raw: bytes | None = None, statistics: SessionStatistics | None = None) -> None:
        super().__init__(message, statistics=statistics)
        self.raw = raw


class HalfCloseUnsupported(StreamError):
    """The negotiated subprotocol has no way to end stdin; only v5.channel.k8s.io has one."""


class UnreadChannelError(StreamError):
    """Waiting for one channel would never end: another one is full, and nobody has ever read it.

    Nothing is lost: read the channel that the text names (or do not request it) and go on.
    """


class StdinBroken(StreamError, anyio.BrokenResourceError, BrokenPipeError):
    """The process has ended or its connection is gone, so input cannot be sent any more.  How it ended is told by ``wait()``."""


class ProcessError(StreamError):
    """A process ended with a non-zero exit code, and ``check=True`` asked for this.

    :ivar result: the whole :class:`~kubex_stream.ExecResult`
    """

    def __init__(self, message: str, *, result: Any) -> None:
        super().__init__(message)
        self.result = result

    @property
    def exit_code(self) -> int:
        """The exit code of the process."""
        code: int = self.result.exit_code
        return code


class StreamTimeout(StreamError, TimeoutError):
    """Something took longer than allowed."""

    def __init__(
        self,
        message: str,
        *,
        stdout: bytes | str | None = None,
        stderr: bytes | str | None = None,
        statistics: SessionStatistics | None = None,
    ) -> None:
        super().__init__(message, statistics=statistics)
        self.stdout = stdout
        self.stderr = stderr


class PortForwardError(StreamError, anyio.BrokenResourceError, ConnectionError):
    """A forwarded connection could not be made, or came to an end that is not the pod's server closing it in order.

    :ivar kind: ``refused``: nothing listens on the port.  ``reset``: the pod's server, or the cluster, ended it by force.  ``gone``: the pod
        is no more.  ``timeout``: no answer in time.  ``lost``: what carried it broke.  ``cut``: it may have been cut short after the end of
        the input.  ``closed``: something was sent after its end.  ``failed``: something else, see the text
    :ivar port: the pod's port
    """

    def __init__(
        self,
        message: str,
        *,
        kind: PortForwardFailure = "failed",
        port: int | None = None,
        statistics: SessionStatistics | None = None,
    ) -> None:
        super().__init__(message, statistics=statistics)
        self.kind = kind
        self.port = port
