"""Watching a client from outside: one small protocol for tracing and metrics."""

from __future__ import annotations

__all__ = ("Observer",)


class Observer:
    """What happens in a client.  Subclass it, override what matters, and give it to :func:`~kubex_stream.create_client`.

    Methods are called in the task that causes the event and must return at once; an exception that one raises is the caller's.
    Neither commands nor payloads are passed, so nothing secret can end in a trace.
    """

    def opened(self, path: str, subprotocol: str) -> None:
        """A stream is open.

        :param path: of the request, without its query
        :param subprotocol: the one that was negotiated
        """

    def frame(self, path: str, *, sent: bool, channel: int, size: int) -> None:
        """A message was sent or received.

        :param size: bytes of its payload
        """

    def closed(self, path: str, error: BaseException | None) -> None:
        """A stream was left.

        :param error: how it failed, None when it did not
        """

    def retried(self, path: str, error: Exception, delay: float) -> None:
        """A request is repeated.

        :param error: the answer that caused it
        :param delay: seconds until then
        """
