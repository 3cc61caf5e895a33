"""Running commands in containers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import EllipsisType
from typing import Any, overload

from kubex_stream.api.interactive import Conversation, InteractiveResult, interact
from kubex_stream.api.request import Opening, pod_path
from kubex_stream.client.base import BaseClient
from kubex_stream.core.params import Timeout, TimeoutTypes
from kubex_stream.session.capture import ExecResult, Input, Target, _Stdout, check_input, check_target, run
from kubex_stream.session.process import ExecProcess, OnCancel, SessionScope
from kubex_stream.session.streams import OutputStream, TextOutputStream
from kubex_stream.terminal.device import Terminal

__all__ = ("Exec",)


def check_command(command: object) -> tuple[str, ...]:
    """``command`` as a tuple.

    :raises TypeError: a string, which no shell would take apart, or something that is not a sequence of strings
    :raises ValueError: it is empty
    """
    if isinstance(command, str | bytes):
        raise TypeError(
            "command is a list of arguments, as ['sh', '-c', 'ls | wc -l'], not a string: nothing takes a string apart"
        )
    if not isinstance(command, Sequence) or not all(isinstance(word, str) for word in command):
        raise TypeError("command is a list of strings")
    if not command or not command[0]:
        raise ValueError("command is empty: its first word is the program")
    if any(0xD800 <= ord(character) <= 0xDFFF for word in command for character in word):
        raise ValueError(
            "command has characters that cannot be sent: lone surrogates, as os.fsdecode makes of bytes that are not UTF-8"
        )
    return tuple(command)


class Exec:
    """``pods.exec``: commands in a container of a running pod."""

    def __init__(self, client: BaseClient, namespace: str) -> None:
        self._client = client
        self._namespace = namespace

    def _opening(self, name: str, namespace: str | None, command: Sequence[str], **given: Any) -> Opening:
        words = check_command(command)
        return Opening(
            client=self._client,
            path=pod_path(self._namespace if namespace is None else namespace, name, "exec"),
            query=[("command", word) for word in words],
            **given,
        )

    @overload
    async def run(
        self,
        name: str,
        command: Sequence[str],
        *,
        container: str | None = None,
        namespace: str | None = None,
        input: Input | None = None,
        stdout: Target = True,
        stderr: Target | _Stdout = True,
        tty: bool = False,
        check: bool = False,
        timeout: float | None = None,
        encoding: None = None,
        errors: str = "strict",
        on_cancel: OnCancel = "leave",
        protocols: Sequence[str] | None = None,
        request_timeout: TimeoutTypes | EllipsisType = ...,
        headers: Mapping[str, str] | None = None,
    ) -> ExecResult[bytes]: ...

    @overload
    async def run(
        self,
        name: str,
        command: Sequence[str],
        *,
        container: str | None = None,
        namespace: str | None = None,
        input: Input | None = None,
        stdout: Target = True,
        stderr: Target | _Stdout = True,
        tty: bool = False,
        check: bool = False,
        timeout: float | None = None,
        encoding: str,
        errors: str = "strict",
        on_cancel: OnCancel = "leave",
        protocols: Sequence[str] | None = None,
        request_timeout: TimeoutTypes | EllipsisType = ...,
        headers: Mapping[str, str] | None = None,
    ) -> ExecResult[str]: ...

    async def run(
        self,
        name: str,
        command: Sequence[str],
        *,
        container: str | None = None,
        namespace: str | None = None,
        input: Input | None = None,  # subprocess's word
        stdout: Target = True,
        stderr: Target | _Stdout = True,
        tty: bool = False,
        check: bool = False,
        timeout: float | None = None,
        encoding: str | None = None,
        errors: str = "strict",
        on_cancel: OnCancel = "leave",
        protocols: Sequence[str] | None = None,
        request_timeout: TimeoutTypes | EllipsisType = ...,
        headers: Mapping[str, str] | None = None,
    ) -> ExecResult[Any]:
        """Run a command to its end, as :func:`subprocess.run` does.

        :param name: the pod
        :param command: the program and its arguments; no shell is in between
        :param container: which container; None lets the server choose, which it does only where there is one
        :param namespace: instead of the :class:`~kubex_stream.Pods` object's
        :param input: what the command gets on stdin, followed by its end: bytes, or an async iterable of bytes.  Without it there is no
            stdin at all.  A command that ends before it has read all is no error, but see ``input_taken`` of the result: servers lose
            output, or even the exit code, of a process that ends while input is still on its way to it.
        :param stdout: True keeps it in the result, False does not ask for it; a function or a coroutine function gets every piece as it
            comes, and so does the ``send`` of an async writer, without anything being kept; slow ones are back-pressure
        :param stderr: the same; :data:`~kubex_stream.STDOUT` puts it where stdout goes
        :param tty: run it on a terminal: one output, and line discipline
        :param check: raise :class:`ProcessError` for an exit code that is not 0
        :param timeout: seconds for everything, the opening included
        :param encoding: give stdout and stderr as text; functions and writers get bytes in any case
        :param errors: as of :meth:`bytes.decode`
        :param on_cancel: ``"leave"``: a cancelled or timed-out command goes on at the server, as kubectl's does.  ``"kill"``: it is killed,
            which only v4 can, so not together with ``input`` (unless ``tty``)
        :param protocols: the subprotocols to offer, best first, instead of those that the streams need
        :param request_timeout: of the handshake, instead of ``ClientOptions.timeout``
        :param headers: added to the handshake
        :returns: exit code and output; any exit code is a result unless ``check`` is set
        :raises StartError: it did not start
        :raises ApiError: the server refused; :class:`Forbidden` names the verbs that a role needs
        :raises StreamTimeout: ``timeout`` passed; ``.stdout`` and ``.stderr`` hold what had come
        :raises ConnectionLost: the connection broke before the exit code had come; ``.stdout`` and ``.stderr`` likewise
        :raises StatusMissing: the server ended the stream without one; likewise
        :raises HalfCloseUnsupported: ``input`` needs v5, and the server has only v4; nothing was sent
        :raises ProcessError: ``check`` was set and the exit code was not 0; ``.result`` is the result
        :raises TypeError: an argument of a wrong kind, as a string for the command
        :raises ValueError: arguments that make no sense, alone or together
        """
        merge = isinstance(stderr, _Stdout)
        check_target("stdout", stdout)
        check_input(input)
        Timeout.coerce(timeout)
        if not isinstance(stderr, _Stdout):
            check_target("stderr", stderr)
        opening = self._opening(
            name, namespace, command,
            container=container, stdin=input is not None, stdout=stdout is not False, stderr=stderr is not False, tty=tty, merge=merge,
            ends_stdin=input is not None, encoding=encoding, errors=errors, on_cancel=on_cancel, protocols=protocols,
            request_timeout=request_timeout, headers=headers,
        )  # fmt: skip
        return await run(
            self._scope(opening, text=False),
            tuple(command),
            input=input,
            stdout=stdout,
            stderr=False if isinstance(stderr, _Stdout) else stderr,
            merge=merge,
            timeout=timeout,
            encoding=encoding,
            errors=errors,
            check=check,
        )

    @overload
    def stream(
        self,
        name: str,
        command: Sequence[str],
        *,
        container: str | None = None,
        namespace: str | None = None,
        stdin: bool = False,
        stdout: bool = True,
        stderr: bool | _Stdout = True,
        tty: bool = False,
        encoding: None = None,
        errors: str = "strict",
        on_cancel: OnCancel = "leave",
        protocols: Sequence[str] | None = None,
        request_timeout: TimeoutTypes | EllipsisType = ...,
        headers: Mapping[str, str] | None = None,
    ) -> SessionScope[ExecProcess[OutputStream]]: ...

    @overload
    def stream(
        self,
        name: str,
        command: Sequence[str],
        *,
        container: str | None = None,
        namespace: str | None = None,
        stdin: bool = False,
        stdout: bool = True,
        stderr: bool | _Stdout = True,
        tty: bool = False,
        encoding: str,
        errors: str = "strict",
        on_cancel: OnCancel = "leave",
        protocols: Sequence[str] | None = None,
        request_timeout: TimeoutTypes | EllipsisType = ...,
        headers: Mapping[str, str] | None = None,
    ) -> SessionScope[ExecProcess[TextOutputStream]]: ...

    def stream(
        self,
        name: str,
        command: Sequence[str],
        *,
        container: str | None = None,
        namespace: str | None = None,
        stdin: bool = False,
        stdout: bool = True,
        stderr: bool | _Stdout = True,
        tty: bool = False,
        encoding: str | None = None,
        errors: str = "strict",
        on_cancel: OnCancel = "leave",
        protocols: Sequence[str] | None = None,
        request_timeout: TimeoutTypes | EllipsisType = ...,
        headers: Mapping[str, str] | None = None,
    ) -> SessionScope[Any]:
        """Run a command and talk to it while it runs, as :class:`subprocess.Popen` does: ``async with pods.exec.stream(…) as process``.

        Leaving the block closes the session and waits for that, at most ``close_timeout``; it never waits for the process, and does not end
        it either unless ``on_cancel="kill"``.  Cancelling the block is leaving it.

        :param stdin: ask for ``process.stdin``
        :param stdout: ask for ``process.stdout``; False for what nobody will read
        :param stderr: ask for ``process.stderr``; :data:`~kubex_stream.STDOUT` puts it into stdout
        :param tty: run it on a terminal; asks for stdin too
        :param encoding: outputs give text instead of bytes

        The other parameters, and what entering the block raises, are those of :meth:`run`.
        """
        merge = isinstance(stderr, _Stdout)
        opening = self._opening(
            name, namespace, command,
            container=container, stdin=stdin, stdout=stdout, stderr=stderr is not False, tty=tty, merge=merge,
            encoding=encoding, errors=errors, on_cancel=on_cancel, protocols=protocols, request_timeout=request_timeout, headers=headers,
        )  # fmt: skip
        return self._scope(opening, text=True)

    async def interactive(
        self,
        name: str,
        command: Sequence[str],
        *,
        container: str | None = None,
        namespace: str | None = None,
        terminal: Terminal | None = None,
        detach_keys: str | None = None,
        tty: bool = True,
        check: bool = False,
        on_cancel: OnCancel = "leave",
        protocols: Sequence[str] | None = None,
        request_timeout: TimeoutTypes | EllipsisType = ...,
        headers: Mapping[str, str] | None = None,
    ) -> InteractiveResult:
        """Run a command in the terminal, as ``kubectl exec -it`` does: keys go there, the screen is drawn from there.

        A terminal is in raw mode meanwhile, so Ctrl-C and its like are keys as all others.  It is put back however this ends: exit, error,
        cancelling, SIGTERM, SIGHUP, SIGINT and SIGQUIT whatever the application does about them, and while the process is stopped; only
        SIGKILL, and a crash of the interpreter, leave it as it is.  Signals are handled in the main thread only.

        The end of the local input is the character 0x04 to a remote terminal, and the end of stdin without one.

        :param terminal: any pair of file descriptors; None for stdin and stdout of this process.  Without a terminal among them there is no
            mode and no size, and everything else is the same
        :param detach_keys: keys that end the session and leave the command running, as ``"ctrl-p,ctrl-q"``; they never go to the command,
            and the first of them waits for what comes behind it
        :param tty: run it on a terminal.  Without, this terminal stays as it is, stderr comes with stdout, and v5 is needed
        :param check: raise :class:`ProcessError` for an exit code that is not 0
        :param on_cancel: as of :meth:`run`; ``"kill"`` goes neither with ``detach_keys`` nor without ``tty``
        :returns: exit code, or that it was detached; any exit code is a result unless ``check`` is set
        :raises RuntimeError: another session of this process has the terminal
        :raises OSError: the terminal cannot be read or written any more

        The other parameters, and what else is raised, are those of :meth:`run`; the terminal is put back before anything is raised.
        """
        conversation = Conversation(terminal, detach_keys, tty)
        if detach_keys is not None and on_cancel == "kill":
            raise ValueError(
                "detaching leaves the command running, and on_cancel='kill' ends it with the session: give up one of them"
            )
        opening = self._opening(
            name, namespace, command,
            container=container, stdin=True, stdout=True, stderr=True, tty=tty, merge=True, ends_stdin=not tty,
            encoding=None, errors="strict", on_cancel=on_cancel, protocols=protocols, request_timeout=request_timeout, headers=headers,
        )  # fmt: skip
        return await interact(self._scope(opening, text=False), conversation, check=check)

    @staticmethod
    def _scope(opening: Opening, *, text: bool) -> SessionScope[ExecProcess[Any]]:
        streams = opening.streams(text=text)
        return SessionScope(
            lambda: opening.connect(streams),
            lambda session: ExecProcess(session, streams),
            on_cancel=opening.on_cancel,
            left=opening.left(),
        )
