"""``pods.logs``: what containers have written, and what they write."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import EllipsisType
from typing import Any, Final, Literal, overload

from kubex_stream.api.log_contact import ReaderSettings, Tell
from kubex_stream.api.log_sources import ContainerChoice, LogSelection, explained
from kubex_stream.api.log_stream import LogPlan, LogStream
from kubex_stream.api.request import check_name, pod_path
from kubex_stream.client.base import BaseClient
from kubex_stream.client.request import Request
from kubex_stream.core.params import Timeout, TimeoutTypes
from kubex_stream.errors import ApiError, NotFound
from kubex_stream.logs.line import LogLine
from kubex_stream.logs.lines import NO_LOG
from kubex_stream.logs.shapes import Limit, RawShaper, Shape, line_shaper
from kubex_stream.logs.wanted import Since, Wanted, check_count

__all__ = ("Logs",)

_NO_LOG: Final = re.compile(re.escape(NO_LOG) + rb"[a-z0-9-]+://[0-9a-f]+\s*")


class Logs:
    """``pods.logs``: the logs of containers."""

    def __init__(self, client: BaseClient, namespace: str) -> None:
        self._client = client
        self._namespace = namespace

    @overload
    async def read(
        self,
        name: str,
        *,
        container: str | None = None,
        previous: bool = False,
        since: Since | None = None,
        tail: int | None = None,
        limit_bytes: int | None = None,
        timestamps: bool = False,
        encoding: None = None,
        errors: str = "replace",
        namespace: str | None = None,
        request_timeout: TimeoutTypes | EllipsisType = ...,
        headers: Mapping[str, str] | None = None,
    ) -> bytes: ...

    @overload
    async def read(
        self,
        name: str,
        *,
        container: str | None = None,
        previous: bool = False,
        since: Since | None = None,
        tail: int | None = None,
        limit_bytes: int | None = None,
        timestamps: bool = False,
        encoding: str,
        errors: str = "replace",
        namespace: str | None = None,
        request_timeout: TimeoutTypes | EllipsisType = ...,
        headers: Mapping[str, str] | None = None,
    ) -> str: ...

    async def read(
        self,
        name: str,
        *,
        container: str | None = None,
        previous: bool = False,
        since: Since | None = None,
        tail: int | None = None,
        limit_bytes: int | None = None,
        timestamps: bool = False,
        encoding: str | None = None,
        errors: str = "replace",
        namespace: str | None = None,
        request_timeout: TimeoutTypes | EllipsisType = ...,
        headers: Mapping[str, str] | None = None,
    ) -> bytes | str:
        """The log of one container, as it is now, whole and in memory.

        :param name: of the pod
        :param container: None for the pod's only one
        :param previous: the log before the container's last restart
        :param since: nothing older: seconds or a timedelta back from now, or a datetime with its time zone; servers know whole seconds only
        :param tail: so many lines of the end
        :param limit_bytes: not more than this; the end may be cut inside of a line, or of a character
        :param timestamps: each line begins with its time, as ``2026-03-01T08:15:30.123456789Z``, and a space
        :param encoding: for text; None for bytes
        :param errors: what to do with bytes that are no text, as :meth:`bytes.decode` has it
        :param request_timeout: seconds for the whole, or a :class:`~kubex_stream.Timeout`; None for no limit
        :raises TypeError, ValueError: wrong arguments; nothing is sent
        :raises NotFound: there is no such pod, or the node has no log of it any more
        :raises ApiError: no such container, it has not started, ``previous`` without one; the text says which
        :raises ConnectionLost: the connection broke before the whole log had come
        :raises UnicodeDecodeError: it is not text, and ``errors="strict"``
        """
        namespace = self._namespace if namespace is None else namespace
        wanted = Wanted(previous=previous, since=since, tail=tail, limit_bytes=limit_bytes)
        Shape(lines=False, timestamps=timestamps, encoding=encoding, errors=errors)
        query = wanted.query()
        if limit_bytes is not None:
            query.append(("limitBytes", str(limit_bytes)))
        if timestamps:
            query.append(("timestamps", "true"))
        if container is not None:
            query.insert(0, ("container", check_name("container", container)))
        given: dict[str, Any] = {"timeout": request_timeout, "headers": headers or {}}
        request = Request(path=pod_path(namespace, name, "log"), query=query, **given)
        try:
            response = await self._client.request(request)
        except ApiError as error:
            if error.status_code != 400:
                raise
            raise await explained(self._client, error, namespace, name, container, given) from error
        if response.status_code == 204:
            waiting = ApiError(f"the container of pod {name!r} is waiting to start: it has no node", status_code=400)
            raise await explained(self._client, waiting, namespace, name, container, given)
        if _NO_LOG.fullmatch(response.content):
            raise NotFound(f"the node has no log of {name} any more", status_code=404)
        return response.content if encoding is None else response.content.decode(encoding, errors)

    @overload
    def stream(
        self,
        name: str | None = None,
        *,
        label_selector: str | None = None,
        container: ContainerChoice | None = None,
        all_containers: bool = False,
        follow: bool = False,
        lines: Literal[True] = True,
        previous: bool = False,
        since: Since | None = None,
        tail: int | None = None,
        limit_bytes: int | None = None,
        timestamps: bool = False,
        encoding: None = None,
        errors: str = "replace",
        max_requests: int = 5,
        ignore_errors: bool = False,
        inactivity: float | None = 60.0,
        start_timeout: float | None = 60.0,
        retry_for: float | None = 300.0,
        on_event: Tell | None = None,
        namespace: str | None = None,
        request_timeout: TimeoutTypes | EllipsisType = ...,
        headers: Mapping[str, str] | None = None,
    ) -> LogStream[LogLine[bytes]]: ...

    @overload
    def stream(
        self,
        name: str | None = None,
        *,
        label_selector: str | None = None,
        container: ContainerChoice | None = None,
        all_containers: bool = False,
        follow: bool = False,
        lines: Literal[True] = True,
        previous: bool = False,
        since: Since | None = None,
        tail: int | None = None,
        limit_bytes: int | None = None,
        timestamps: bool = False,
        encoding: str,
        errors: str = "replace",
        max_requests: int = 5,
        ignore_errors: bool = False,
        inactivity: float | None = 60.0,
        start_timeout: float | None = 60.0,
        retry_for: float | None = 300.0,
        on_event: Tell | None = None,
        namespace: str | None = None,
        request_timeout: TimeoutTypes | EllipsisType = ...,
        headers: Mapping[str, str] | None = None,
    ) -> LogStream[LogLine[str]]: ...

    @overload
    def stream(
        self,
        name: str | None = None,
        *,
        label_selector: str | None = None,
        container: ContainerChoice | None = None,
        all_containers: bool = False,
        follow: bool = False,
        lines: Literal[False],
        previous: bool = False,
        since: Since | None = None,
        tail: int | None = None,
        limit_bytes: int | None = None,
        timestamps: bool = False,
        encoding: None = None,
        errors: str = "replace",
        max_requests: int = 5,
        ignore_errors: bool = False,
        inactivity: float | None = 60.0,
        start_timeout: float | None = 60.0,
        retry_for: float | None = 300.0,
        on_event: Tell | None = None,
        namespace: str | None = None,
        request_timeout: TimeoutTypes | EllipsisType = ...,
        headers: Mapping[str, str] | None = None,
    ) -> LogStream[bytes]: ...

    @overload
    def stream(
        self,
        name: str | None = None,
        *,
        label_selector: str | None = None,
        container: ContainerChoice | None = None,
        all_containers: bool = False,
        follow: bool = False,
        lines: Literal[False],
        previous: bool = False,
        since: Since | None = None,
        tail: int | None = None,
        limit_bytes: int | None = None,
        timestamps: bool = False,
        encoding: str,
        errors: str = "replace",
        max_requests: int = 5,
        ignore_errors: bool = False,
        inactivity: float | None = 60.0,
        start_timeout: float | None = 60.0,
        retry_for: float | None = 300.0,
        on_event: Tell | None = None,
        namespace: str | None = None,
        request_timeout: TimeoutTypes | EllipsisType = ...,
        headers: Mapping[str, str] | None = None,
    ) -> LogStream[str]: ...

    def stream(
        self,
        name: str | None = None,
        *,
        label_selector: str | None = None,
        container: ContainerChoice | None = None,
        all_containers: bool = False,
        follow: bool = False,
        lines: bool = True,
        previous: bool = False,
        since: Since | None = None,
        tail: int | None = None,
        limit_bytes: int | None = None,
        timestamps: bool = False,
        encoding: str | None = None,
        errors: str = "replace",
        max_requests: int = 5,
        ignore_errors: bool = False,
        inactivity: float | None = 60.0,
        start_timeout: float | None = 60.0,
        retry_for: float | None = 300.0,
        on_event: Tell | None = None,
        namespace: str | None = None,
        request_timeout: TimeoutTypes | EllipsisType = ...,
        headers: Mapping[str, str] | None = None,
    ) -> LogStream[Any]:
        """Logs as they come: ``async with pods.logs.stream(…) as log: async for line in log: …``.

        A log that is followed goes on through connections that break, servers that restart, rotation and restarts of its container, and
        ends when the container has ended for good or its pod is gone.  No line is lost, and none comes twice; where a server has thrown
        lines away before they could be read, an event says so.

        :param name: of a pod; or else
        :param label_selector: of pods, as ``app=web``: those that are there when the stream is opened
        :param container: a name, or a function that gives the name for a pod (the API's JSON object); None for the annotated one, or the
            pod's only one
        :param all_containers: all of a pod's, at once
        :param follow: whether to go on with what is written from now on
        :param lines: False for the bytes of one log, in pieces as they come
        :param previous, since, tail, timestamps: as :meth:`read` has them, for each log; following with ``tail=0`` begins with what is
            written after the stream was entered
        :param limit_bytes: not more than this of each log
        :param encoding: for text; None for bytes
        :param errors: what to do with bytes that are no text
        :param max_requests: logs that are read at once.  More are followed by nobody; without ``follow``, one after the other is read
        :param ignore_errors: read the other logs on when one fails, which an event tells
        :param inactivity: seconds; a server that is silent for longer while a log is followed is asked for it again, since its connection
            may be dead; where nothing is followed, that is an error.  None: never
        :param start_timeout: seconds for a container that is to be followed to start; None for ever
        :param retry_for: seconds for which a log may fail without a line between, before it is given up; None for ever
        :param on_event: is called with a :class:`~kubex_stream.LogEvent` when a log waits, resumes, restarts, has a gap, fails or ends;
            it returns at once
        :param request_timeout: seconds until an answer begins, or a :class:`~kubex_stream.Timeout`
        :raises TypeError, ValueError: wrong arguments; nothing is sent.  On entering, ValueError: more logs than ``max_requests``

        Entering raises :class:`~kubex_stream.NotFound` where there is no such pod, and :class:`~kubex_stream.ApiError` where there is no
        such container.  What iterating raises is said there: :meth:`LogStream.__anext__`.  Leaving, or being cancelled, ends all requests.
        """
        wanted = Wanted(follow=follow, previous=previous, since=since, tail=tail, limit_bytes=limit_bytes)
        shape = Shape(lines=lines, timestamps=timestamps, encoding=encoding, errors=errors)
        check_count("max_requests", max_requests, 1)
        given: dict[str, Any] = {"timeout": request_timeout, "headers": headers or {}}
        selection = LogSelection(
            client=self._client,
            namespace=check_name("namespace", self._namespace if namespace is None else namespace),
            pod=name,
            label_selector=label_selector,
            container=container,
            all_containers=all_containers,
            given=given,
        )
        if not lines and (all_containers or name is None):
            raise ValueError("lines=False is for one container: bytes do not say whose they are, lines do")
        plain = timestamps if not lines and not follow else None
        settings = ReaderSettings(
            inactivity=_seconds("inactivity", inactivity),
            start_timeout=_seconds("start_timeout", start_timeout),
            retry_for=_seconds("retry_for", retry_for),
            given=given,
        )
        raw = None if lines else RawShaper(shape, stamped=plain is None)
        plan = LogPlan(
            find=selection.find,
            wanted=wanted,
            settings=settings,
            shaper=raw or line_shaper(shape),
            rest=None if raw is None else raw.rest,
            limit=None if limit_bytes is None else Limit(limit_bytes, shape if plain is None else None),
            plain=plain,
            max_requests=max_requests,
            ignore_errors=ignore_errors,
            tell=on_event,
        )
        return LogStream(self._client, plan)


def _seconds(name: str, value: float | None) -> float | None:
    """``value``, where it is a number of seconds.

    :raises ValueError: it is none
    """
    try:
        limit = Timeout(value)
    except ValueError:
        raise ValueError(f"{name} must be a positive number of seconds or None, not {value!r}") from None
    return limit.total
