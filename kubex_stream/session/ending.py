"""How a session ended, from what channel 3 and the connection said.

Rules of this file:
- An ending is one of four things, never mixed up: exited with a code, failed to start, the connection broke, ended without a Status.
- What a Status means is :mod:`kubex_stream.protocol.status`; which exception it becomes is decided here, for every session alike.
- A Status that cannot be read is told without its text, which on v4 holds the command line; the text is in the error's ``raw``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final, Protocol

from kubex_stream.errors import (
    ConnectionLost,
    KubexClientException,
    ProtocolViolation,
    StartError,
    StatusMissing,
)
from kubex_stream.protocol.channels import ChannelProtocol
from kubex_stream.protocol.status import MAX_STATUS_SIZE, Exited, Failed, Status, decode_ending
from kubex_stream.statistics import SessionStatistics

__all__ = ("Ending", "EndingReader", "StatusReader", "broken")

#: Servers send a Status as one message.  One in more messages than this is read when the server closes.
MAX_STATUS_PARTS: Final = 64


@dataclass(frozen=True, slots=True)
class Ending:
    """How a session ended: a code, or an error; attach knows neither where all went well."""

    code: int | None = None
    status: Status | None = None
    error: Exception | None = None

    def of_output(self, end: type[Exception]) -> Exception:
        """What an output raises behind its last byte: ``end`` where all went well.

        The one error may be raised often; each time would add to its traceback.
        """
        return end() if self.error is None else self.error.with_traceback(None)


class EndingReader(Protocol):
    """What turns channel 3, and the server's Close, into an ending."""

    def add(self, part: bytes | memoryview, statistics: SessionStatistics, /) -> Ending | None:
        """Take the payload of a message; the ending once there is one."""

    def closed(self, close_code: int | None, statistics: SessionStatistics, /) -> Ending:
        """The ending of a session that the server closed in order."""


class StatusReader:
    """Collects channel 3 and says when it has told the ending."""

    def __init__(self, protocol: ChannelProtocol) -> None:
        self._protocol = protocol
        self._text = bytearray()
        self._parts = 0

    def add(self, part: bytes | memoryview, statistics: SessionStatistics) -> Ending | None:
        """Take the payload of a message; the ending once it is whole, None while more may follow."""
        self._text += part
        if len(self._text) > MAX_STATUS_SIZE:
            problem = f"a Status of more than {MAX_STATUS_SIZE} bytes came"
            return Ending(error=ProtocolViolation(problem, raw=bytes(self._text), statistics=statistics))
        self._parts += bool(part)
        if not part or not self._protocol.json_status or self._parts > MAX_STATUS_PARTS:
            return None  # each try costs what came before; the Close tells
        try:
            json.loads(self._text)
        except ValueError:
            return None  # the rest may follow in another message; if not, the Close tells
        except RecursionError:
            pass  # nested without end: told as garbage
        return self._decoded(statistics)

    def closed(self, close_code: int | None, statistics: SessionStatistics) -> Ending:
        """The ending of a session that the server closed in order."""
        if self._text or not self._protocol.json_status:
            return self._decoded(statistics)
        problem = (
            f"the server closed the stream{'' if close_code is None else f' with code {close_code}'} and no Status said how the process "
            "ended: there is no exit code"
        )
        return Ending(error=StatusMissing(problem, statistics=statistics))

    def _decoded(self, statistics: SessionStatistics) -> Ending:
        ending, status = decode_ending(self._text, json_status=self._protocol.json_status)
        if isinstance(ending, Exited):
            return Ending(code=ending.code, status=status)
        if isinstance(ending, Failed):
            code = status.code if status is not None and status.code else 500
            return Ending(status=status, error=StartError(ending.message, status_code=code, status=status))
        problem = f"the Status cannot be read: {ending.message.partition(' in ')[0]}"
        return Ending(status=status, error=ProtocolViolation(problem, raw=bytes(self._text), statistics=statistics))


def broken(error: Exception, statistics: SessionStatistics) -> Ending:
    """The ending of a session whose connection failed, with the numbers of the session.

    :param error: of the library's, or of whatever a transport is made of
    """
    known: Exception = error
    if isinstance(error, ConnectionLost):
        known = ConnectionLost(str(error), close_code=error.close_code, statistics=statistics)
    elif isinstance(error, ProtocolViolation):
        known = ProtocolViolation(str(error), raw=error.raw, statistics=statistics)
    elif not isinstance(error, KubexClientException):
        known = ConnectionLost(f"the transport failed: {error!r}", statistics=statistics)
    if known is not error:
        known.__cause__ = error
    return Ending(error=known)
