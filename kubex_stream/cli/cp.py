"""``kubex-stream cp``: kubectl's forms of source and target, and ``-`` for an archive on stdin or stdout."""

from __future__ import annotations

import os
import re
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from kubex_stream.api.pods import Pods
from kubex_stream.cli.connection import Log, open_pods
from kubex_stream.cli.containers import check_phase, choose_container
from kubex_stream.cli.failures import say
from kubex_stream.cli.local import LocalOutput, local_input
from kubex_stream.cli.settings import Settings, UsageError
from kubex_stream.cli.transfer_bar import transfer_bar
from kubex_stream.errors import CopyError
from kubex_stream.transfer.result import CopyResult

__all__ = ("CpRequest", "FileSpec", "cp_command", "parse_files")

#: What stands for an archive on stdin or stdout.
STREAM: Final = "-"
_DRIVE: Final = re.compile(r"[A-Za-z]:[\\/]")


@dataclass(frozen=True, slots=True, kw_only=True)
class CpRequest:
    """What ``cp`` is to do.

    The command line is ``cp SRC DST [flags]``, one of the two in a container:

    - ``-c``, ``--container NAME``: which container; None: the default one
    - ``--no-preserve``: modes, times and owners are those that new files get; False for ``preserve``
    - ``--retries N``: how often to go on after the connection broke; negative for ever; 0
    - ``--checksum``: compare SHA-256 digests afterwards
    - ``--progress`` / ``--no-progress``: a bar on stderr; None: where stderr is a terminal

    :ivar source: ``[[NAMESPACE/]POD:]PATH``, or ``-`` for an archive on stdin
    :ivar target: likewise, or ``-`` for an archive on stdout
    """

    source: str
    target: str
    container: str | None = None
    preserve: bool = True
    retries: int = 0
    checksum: bool = False
    progress: bool | None = None


@dataclass(frozen=True, slots=True)
class FileSpec:
    """A source or a target.

    :ivar pod: empty for a local one
    :ivar namespace: None for the one that is meant elsewhere
    """

    path: str
    pod: str = ""
    namespace: str | None = None

    @classmethod
    def parse(cls, text: str) -> FileSpec:
        """As kubectl has it; besides, what begins with ``/``, ``./`` or ``../`` is local whatever comes then, and on Windows a drive is.

        :raises UsageError: it makes no sense
        """
        head, colon, path = text.partition(":")
        if text.startswith(("/", "./", "../")) or (os.name == "nt" and _DRIVE.match(text)) or not colon:
            if not text:
                raise UsageError("filepath can not be empty")
            return cls(text)
        namespace, _, pod = head.rpartition("/")
        if not pod or "/" in namespace or (head.startswith("/")):
            raise UsageError(
                f"{text!r} is no file of a pod, which is [NAMESPACE/]POD:PATH, nor one here; a local name with a colon begins with ./"
            )
        if not path:
            raise UsageError("filepath can not be empty")
        return cls(path, pod, namespace or None)


def parse_files(request: CpRequest) -> tuple[FileSpec, FileSpec]:
    """Source and target, one of them in a pod.

    :raises UsageError: both are, or none is
    """
    source, target = FileSpec.parse(request.source), FileSpec.parse(request.target)
    if bool(source.pod) == bool(target.pod):
        raise UsageError("one of src or dest must be a remote file specification, as POD:PATH, and the other one local")
    return source, target


async def cp_command(settings: Settings, request: CpRequest) -> int:
    """Copy.

    :returns: 0; 1 where something was refused, which is said on stderr
    :raises UsageError: source and target make no sense
    :raises CopyError: it failed
    """
    source, target = parse_files(request)
    async with open_pods(settings, Log()) as pods:
        remote = source if source.pod else target
        pod = await pods.get(remote.pod, namespace=remote.namespace)
        check_phase(pod, "cp into or from")
        container = choose_container(pod, request.container, say)
        if STREAM in (source.path, target.path) and STREAM in (request.source, request.target):
            await _stream(pods, source, target, container, request)
            return 0
        return await _copy(pods, source, target, container, request)


async def _stream(pods: Pods, source: FileSpec, target: FileSpec, container: str, request: CpRequest) -> None:
    if target.pod:
        async with aclosing(local_input()) as stdin:
            await pods.cp.upload_tar(
                target.pod,
                stdin,
                target.path,
                container=container,
                namespace=target.namespace,
                preserve=request.preserve,
            )
        return
    async with LocalOutput(1) as stdout:
        await pods.cp.download_tar(source.pod, source.path, stdout, container=container, namespace=source.namespace)


async def _copy(pods: Pods, source: FileSpec, target: FileSpec, container: str, request: CpRequest) -> int:
    remote = source if source.pod else target
    copy = pods.cp.download if source.pod else pods.cp.upload
    try:
        async with transfer_bar(request.progress) as progress:
            result = await copy(
                remote.pod,
                source.path,
                target.path,
                container=container,
                namespace=remote.namespace,
                preserve=request.preserve,
                checksum=request.checksum,
                retries=request.retries,
                progress=progress,
            )
    except CopyError as error:
        if isinstance(error.result, CopyResult):
            _tell_refused(error.result)
        raise
    _tell_refused(result)
    return 1 if result.refused_count else 0


def _tell_refused(result: CopyResult) -> None:
    for each in result.refused:
        say(f"warning: not copied: {each}")
    if result.refused_count > len(result.refused):
        say(f"warning: and {result.refused_count - len(result.refused)} more were not copied")
