"""Copying files to and from containers."""

from __future__ import annotations

import os
from collections.abc import AsyncIterable, Awaitable, Sequence
from dataclasses import replace
from typing import BinaryIO, Final, cast

from kubex_stream.api.exec import Exec
from kubex_stream.errors import CopyError, StartError
from kubex_stream.session.capture import ExecResult, Input, Target
from kubex_stream.session.process import ExecProcess, SessionScope
from kubex_stream.session.streams import OutputStream
from kubex_stream.transfer.container import (
    NO_TAR,
    Complaints,
    lacks_program,
    look,
    packed_name,
    shell_tar,
    tar_flags,
)
from kubex_stream.transfer.copying import DownloadTo, UploadFrom
from kubex_stream.transfer.names import RemotePath
from kubex_stream.transfer.result import CopyResult, OnProgress

__all__ = ("Cp",)

#: Bytes that are kept of what a command says: nothing that a copy asks for is longer.
_MOST_OUTPUT: Final = 4 * 1024 * 1024


class _Container:
    """One container, bound to its pod."""

    def __init__(self, execs: Exec, name: str, container: str | None, namespace: str | None) -> None:
        self._exec = execs
        self._name = name
        self._container = container
        self._namespace = namespace

    async def run(self, command: Sequence[str], *, input: Input | None = None) -> ExecResult[bytes]:
        out, err = bytearray(), bytearray()
        done = await self._exec.run(
            self._name, command,
            container=self._container, namespace=self._namespace, input=input,
            stdout=lambda piece: out.extend(piece[: _MOST_OUTPUT - len(out)]),
            stderr=lambda piece: err.extend(piece[: _MOST_OUTPUT - len(err)]),
        )  # fmt: skip
        return replace(done, stdout=bytes(out), stderr=bytes(err))

    def stream(
        self, command: Sequence[str], *, stdin: bool, stdout: bool, protocols: Sequence[str], kill: bool
    ) -> SessionScope[ExecProcess[OutputStream]]:
        return self._exec.stream(
            self._name, command,
            container=self._container, namespace=self._namespace, stdin=stdin, stdout=stdout, protocols=protocols,
            on_cancel="kill" if kill else "leave",
        )  # fmt: skip


class Cp:
    """``pods.cp``: files to and from containers of running pods, as streams of tar.

    Nothing is copied twice, and no archive lies anywhere: what is read is sent, and what arrives is written, with a few mebibytes on the
    way.  A container needs ``tar``; for a single file ``cat`` will do.
    """

    def __init__(self, execs: Exec) -> None:
        self._exec = execs

    async def upload(
        self,
        name: str,
        source: str | os.PathLike[str] | bytes | BinaryIO,
        target: str,
        *,
        container: str | None = None,
        namespace: str | None = None,
        preserve: bool = True,
        checksum: bool = False,
        retries: int = 0,
        progress: OnProgress | None = None,
    ) -> CopyResult:
        """Copy a file or a directory into a container.

        Where ``target`` is a directory that is there, the copy goes into it under its own name; otherwise ``target`` is its name, in a
        directory that has to be there.  A ``target`` that ends with ``/`` is a directory, and made if need be.  A source that ends with
        ``/.`` stands for what is in the directory.  Symbolic links are copied as such, but for the source itself.  Files that are there are
        replaced.

        :param name: the pod
        :param source: a local path; or contents for one file: bytes, or a binary file that can seek, from where it stands to its end
        :param target: a path in the container; a relative one starts where the container's processes do
        :param container: as of :meth:`~kubex_stream.api.exec.Exec.run`
        :param namespace: likewise
        :param preserve: keep modes and times, and, where the container's user is root, numeric owners
        :param checksum: compare SHA-256 digests afterwards; needs ``sha256sum`` in the container
        :param retries: how often to go on after the connection broke; negative for ever
        :param progress: called on the event loop after each piece; must return at once
        :returns: what was copied, and in ``refused`` what was not: devices, FIFOs and sockets, what cannot be read
        :raises CopyError: it failed: no tar, no such directory, a full disk there …; tar's own words are in the text
        :raises OSError: the source cannot be read
        :raises ValueError: paths or numbers that make no sense; a file object that cannot seek
        :raises ConnectionLost: the connection broke, and ``retries`` are used up

        What else a command can raise (:meth:`~kubex_stream.api.exec.Exec.run`) it raises too.  Cancelling returns soon; the file that is
        being written stays in the container as it is.
        """
        given = source if isinstance(source, bytes | str) or hasattr(source, "read") else os.fspath(source)
        work = UploadFrom(
            _Container(self._exec, name, container, namespace),
            cast("str | bytes | BinaryIO", given),
            RemotePath.parse(target),
            preserve=preserve,
            checksum=checksum,
            retries=retries,
            progress=progress,
        )
        return await work.run()

    async def download(
        self,
        name: str,
        source: str,
        target: str | os.PathLike[str] | BinaryIO,
        *,
        container: str | None = None,
        namespace: str | None = None,
        preserve: bool = True,
        checksum: bool = False,
        retries: int = 0,
        progress: OnProgress | None = None,
    ) -> CopyResult:
        """Copy a file or a directory from a container.

        Where ``target`` is a directory that is there, the copy goes into it under its own name; otherwise ``target`` is its name, and
        directories on the way to it are made.  A ``target`` that ends with a slash is a directory, and made if need be.  A source that
        ends with ``/.``, or is ``/``, stands for what is in the directory.  Symbolic links are copied as such, but for the source itself.
        Files that are there are replaced, each when its new contents are complete.

        Whatever the container sends, nothing is written outside of ``target``: absolute paths, ``..``, links that lead out, ways through
        links, devices and FIFOs are refused, and are in the result.

        :param name: the pod
        :param source: a path in the container; a relative one starts where the container's processes do
        :param target: a local path; or a binary file, which gets the contents of a single file
        :param preserve: keep modes (without set-uid, set-gid and sticky bits) and times
        :param retries: how often to go on after the connection broke; negative for ever.  With ``sh``, ``tail`` and ``dd`` in the container
            it goes on where it stopped, if what was being copied is still the same, and otherwise from the beginning

        The other parameters are those of :meth:`upload`.

        :returns: what was copied, and in ``refused`` what was not
        :raises CopyError: it failed: no such file, no tar, a file that changed while tar was reading it …; what has come is there
        :raises OSError: a local file or directory cannot be written
        :raises ValueError: paths or numbers that make no sense
        :raises ConnectionLost: the connection broke, and ``retries`` are used up

        What else a command can raise it raises too.  Cancelling returns soon, ends tar, and leaves no half file.
        """
        given = target if isinstance(target, str) or hasattr(target, "write") else os.fspath(target)
        work = DownloadTo(
            _Container(self._exec, name, container, namespace),
            RemotePath.parse(source),
            cast("str | BinaryIO", given),
            preserve=preserve,
            checksum=checksum,
            retries=retries,
            progress=progress,
        )
        return await work.run()

    async def upload_tar(
        self,
        name: str,
        archive: bytes | AsyncIterable[bytes],
        target: str,
        *,
        container: str | None = None,
        namespace: str | None = None,
        preserve: bool = True,
    ) -> None:
        """Unpack an archive of your own in a container.

        What is in it is between it and the container's tar; nothing is looked at here.

        :param archive: the bytes of a tar archive, whole or as they come
        :param target: a directory in the container; it has to be there
        :raises CopyError: tar failed; its words are in the text
        :raises HalfCloseUnsupported: the server does not speak v5 (Kubernetes 1.30), and the archive's size is not known before
        """
        path, there = RemotePath.parse(target), _Container(self._exec, name, container, namespace)
        facts = await look(there, path.path, path.directory)
        if facts.kind in ("missing", "other"):
            raise CopyError(f"there is no directory {path.path} in the container")
        if facts.lacks("tar"):
            raise CopyError(NO_TAR)
        arguments = [*tar_flags(preserve), "-", "-C", path.path]
        complaints = Complaints()
        command = shell_tar(arguments, None, complaints.mark) if facts.shell else ["tar", *arguments]
        done = await _started(there.run(command, input=archive), complaints)
        if not done.input_taken:
            raise CopyError(f"tar in the container ended before it had taken all: {complaints.text}")

    async def download_tar(
        self, name: str, source: str, send: Target, *, container: str | None = None, namespace: str | None = None
    ) -> None:
        """Pass on the archive that tar makes of a file or a directory, as it comes.

        :param send: a function, a coroutine function, or something with an async ``send``, which gets pieces; a slow one is back-pressure
        :raises CopyError: tar failed; what was passed on is no complete archive
        """
        path = RemotePath.parse(source)
        member = await packed_name(_Container(self._exec, name, container, namespace), path)
        command = ["tar", "-cf", "-", "-C", path.directory, member]
        tar = self._exec.run(name, command, stdout=send, container=container, namespace=namespace)
        await _started(tar, Complaints())


async def _started(tar: Awaitable[ExecResult[bytes]], complaints: Complaints) -> ExecResult[bytes]:
    """Wait for tar.

    :param complaints: get what it writes to stderr
    :raises CopyError: there is none, or it failed
    """
    try:
        done = await tar
    except StartError as error:
        if lacks_program(error):
            raise CopyError(NO_TAR) from error
        raise
    complaints.add(done.stderr)
    if done.exit_code:
        why = complaints.text or "it did not say why"
        raise CopyError(f"tar in the container ended with exit code {done.exit_code}: {why}")
    return done
