"""Attaching to the main processes of containers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import EllipsisType
from typing import Any, overload

from kubex_stream.api.interactive import Conversation, InteractiveResult, interact
from kubex_stream.api.request import Opening, pod_path
from kubex_stream.client.base import BaseClient
from kubex_stream.core.params import TimeoutTypes
from kubex_stream.session.capture import STDOUT, _Stdout
from kubex_stream.session.process import AttachedProcess, SessionScope
from kubex_stream.session.streams import OutputStream, TextOutputStream
from kubex_stream.terminal.device import Terminal

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
        opening = self._opening(
            name, namespace,
            container=container, stdin=stdin, stdout=stdout, stderr=stderr is not False, tty=tty, merge=stderr is STDOUT,
            encoding=encoding, errors=errors, protocols=protocols, request_timeout=request_timeout, headers=headers,
        )  # fmt: skip
        return self._scope(opening)

    async def interactive(
        self,
        name: str,
        *,
        container: str | None = None,
        namespace: str | None = None,
        terminal: Terminal | None = None,
        detach_keys: str | None = None,
        tty: bool = True,
        protocols: Sequence[str] | None = None,
        request_timeout: TimeoutTypes | EllipsisType = ...,
        headers: Mapping[str, str] | None = None,
    ) -> InteractiveResult:
        """Meet a main process in the terminal, as ``kubectl attach -it`` does.

        It ends with the main process, whose exit code nobody tells, or with the detach keys.  A process that draws a screen is told of another
        size first and then of the right one, so that it draws anew.

        :param detach_keys: keys that end the session and leave the process running, as ``"ctrl-p,ctrl-q"``
        :param tty: has to be the container's own ``tty``.  Without it the end of the local input ends this attachment, and needs v5

        The other parameters, what happens to the terminal, and what is raised, are those of :meth:`kubex_stream.api.exec.Exec.interactive`.
        """
        conversation = Conversation(terminal, detach_keys, tty, redraw=tty)
        opening = self._opening(
            name, namespace,
            container=container, stdin=True, stdout=True, stderr=True, tty=tty, merge=True, ends_stdin=not tty,
            encoding=None, errors="strict", protocols=protocols, request_timeout=request_timeout, headers=headers,
        )  # fmt: skip
        return await interact(self._scope(opening), conversation)

    def _opening(self, name: str, namespace: str | None, **given: Any) -> Opening:
        path = pod_path(self._namespace if namespace is None else namespace, name, "attach")
        return Opening(client=self._client, path=path, on_cancel="leave", **given)

    @staticmethod
    def _scope(opening: Opening) -> SessionScope[Any]:
        streams = opening.streams()
        return SessionScope(
            lambda: opening.connect(streams),
            lambda session: AttachedProcess(session, streams),
            on_cancel="leave",
            left=opening.left(),
        )
