"""Attaching to the main processes of containers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import EllipsisType
from typing import Any, overload

from kubex_stream.api.request import Opening, pod_path
from kubex_stream.client.base import BaseClient
from kubex_stream.core.params import TimeoutTypes
from kubex_stream.session.capture import STDOUT, _Stdout
from kubex_stream.session.process import AttachedProcess, SessionScope
from kubex_stream.session.streams import OutputStream, TextOutputStream

__all__ = ("Attach",)


class Attach:
    """``pods.attach``: the main process of a container."""

    def __init__(self, client: BaseClient, namespace: str) -> None:
        self._client = client
        self._namespace = namespace

    @overload
    def stream(
        self,
        name: str,
        *,
        container: str | None = None,
        namespace: str | None = None,
        stdin: bool = False,
        stdout: bool = True,
        stderr: bool | _Stdout = True,
        tty: bool = False,
        encoding: None = None,
        errors: str = "strict",
        protocols: Sequence[str] | None = None,
        request_timeout: TimeoutTypes | EllipsisType = ...,
        headers: Mapping[str, str] | None = None,
    ) -> SessionScope[AttachedProcess[OutputStream]]: ...

    @overload
    def stream(
        self,
        name: str,
        *,
        container: str | None = None,
        namespace: str | None = None,
        stdin: bool = False,
        stdout: bool = True,
        stderr: bool | _Stdout = True,
        tty: bool = False,
        encoding: str,
        errors: str = "strict",
        protocols: Sequence[str] | None = None,
        request_timeout: TimeoutTypes | EllipsisType = ...,
        headers: Mapping[str, str] | None = None,
    ) -> SessionScope[AttachedProcess[TextOutputStream]]: ...

    def stream(
        self,
        name: str,
        *,
        container: str | None = None,
        namespace: str | None = None,
        stdin: bool = False,
        stdout: bool = True,
        stderr: bool | _Stdout = True,
        tty: bool = False,
        encoding: str | None = None,
        errors: str = "strict",
        protocols: Sequence[str] | None = None,
        request_timeout: TimeoutTypes | EllipsisType = ...,
        headers: Mapping[str, str] | None = None,
    ) -> SessionScope[Any]:
        """Attach to a main process: ``async with pods.attach.stream(…) as process``.

        Nothing is replayed: what the process wrote before is in its logs.  Any number of clients may be attached; each gets all output, and
        each may write.  Leaving never ends the process.  ``process.stdin.aclose()`` ends this attachment; the process sees the end of its
        input only where the container says ``stdinOnce: true``.

        :param name: the pod
        :param container: which container; None lets the server choose, which it does only where there is one
        :param tty: has to be the container's own ``tty``: servers lose output, or refuse, where it is not
        :param stdin: ask for ``process.stdin``; a container without ``stdin: true`` drops what it gets

        The other parameters, and what entering the block raises, are those of :meth:`kubex_stream.api.exec.Exec.stream`.
        """
        opening = Opening(
            client=self._client,
            path=pod_path(self._namespace if namespace is None else namespace, name, "attach"),
            container=container,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr is not False,
            tty=tty,
            merge=stderr is STDOUT,
            encoding=encoding,
            errors=errors,
            on_cancel="leave",
            protocols=protocols,
            request_timeout=request_timeout,
            headers=headers,
        )
        streams = opening.streams()
        return SessionScope(
            lambda: opening.connect(streams),
            lambda session: AttachedProcess(session, streams),
            on_cancel="leave",
            left=opening.left(),
        )
