"""What a copy needs of a container: commands, and what they complain about.

Rules of this file:
- Names go to programs as arguments of their own; no shell ever takes one apart.
- A script in front of tar tells tar's exit code in a line of stderr, for two reasons.  The code of a pipeline is that of its last command;
  and a process that ends with much of its input unread may never be reported, so there something has to read on when tar has given up.
- The line has a mark that nobody can know before, or else a file's name in one of tar's complaints could be it.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import anyio

from kubex_stream.errors import ApiError, StartError
from kubex_stream.session.capture import ExecResult, Input
from kubex_stream.session.process import ExecProcess, SessionScope
from kubex_stream.session.streams import OutputStream
from kubex_stream.transfer.names import RemotePath

__all__ = (
    "NO_TAR",
    "V4",
    "V5",
    "Complaints",
    "Container",
    "Facts",
    "lacks_program",
    "look",
    "packed_name",
    "printable",
    "refuses_protocol",
    "resumed_tar",
    "shell_tar",
    "tar_flags",
    "together",
)

NO_TAR: Final = "the container has no tar"
V4: Final = "v4.channel.k8s.io"
V5: Final = "v5.channel.k8s.io"
_KEPT: Final = 16384
#: Programs that a copy may use.
_TOOLS: Final = ("tar", "cat", "head", "tail", "dd", "sha256sum", "wc", "chmod")
_LOOK: Final = (
    'if [ -d "$1" ]; then echo directory; elif [ -e "$1" ] || [ -h "$1" ]; then echo other; else echo missing; fi; '
    'if [ -d "$2" ]; then echo parent; fi; '
    f"for tool in {' '.join(_TOOLS)}; do if command -v $tool >/dev/null 2>&1; then echo $tool; fi; done; exit 0"
)
_TELL: Final = "code=$?; printf '\\n%s %s\\n' \"$mark\" $code >&2"
_FEED: Final = f'{{ tar "$@"; {_TELL}; cat >/dev/null; exit $code; }}'
_RESUME: Final = (
    f'{{ {{ tar "$@"; {_TELL}; }} | tail -c "+$from" | {{ dd bs=1 "count=$anchor" 2>/dev/null; tail -c "+$skip"; }}; }}'
)


class Container(Protocol):
    """A container of a pod, as a copy sees it."""

    async def run(self, command: Sequence[str], *, input: Input | None = None) -> ExecResult[bytes]:
        """Run a command to its end."""

    def stream(
        self, command: Sequence[str], *, stdin: bool, stdout: bool, protocols: Sequence[str], kill: bool
    ) -> SessionScope[ExecProcess[OutputStream]]:
        """Run a command and talk to it.

        :param kill: leaving early ends it, which v4 can
        """


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a container and of a path in it.

    :ivar shell: whether there is a shell
    :ivar kind: ``directory``, ``other``, ``missing``; ``unknown`` where nothing there can tell
    :ivar parent: whether the directory is there that the path is in
    :ivar lacking: programs that are missing for sure
    """

    shell: bool
    kind: str
    parent: bool
    lacking: frozenset[str] = frozenset()

    def lacks(self, tool: str) -> bool:
        """Whether a program is missing for sure."""
        return tool in self.lacking


async def look(container: Container, path: str, directory: str) -> Facts:
    """Look at a path, and at what programs there are; where there is no shell, as far as tar helps.

    :raises StartError: the container itself is the trouble
    """
    try:
        done = await container.run(["sh", "-c", _LOOK, "sh", path, directory])
    except StartError as error:
        if not lacks_program(error):
            raise
        return await _look_without_shell(container, path, directory)
    words = done.stdout.decode("ascii", "replace").split()
    return Facts(True, words[0] if words else "unknown", "parent" in words, frozenset(_TOOLS) - frozenset(words))


async def _look_without_shell(container: Container, path: str, directory: str) -> Facts:
    """What tar itself says: it can pack a directory, or it cannot."""

    async def is_directory(there: str) -> bool:
        done = await container.run(["tar", "-cf", "-", "--no-recursion", "-C", there, "."])
        return done.exit_code == 0

    try:
        if await is_directory(path):
            return Facts(False, "directory", True)
        # One that does not know the option says no in any case.
        return Facts(False, "unknown", await is_directory(directory) or not await is_directory("/"))
    except StartError as error:
        if not lacks_program(error):
            raise
        return Facts(False, "unknown", True, lacking=frozenset({"tar"}))


def lacks_program(error: StartError) -> bool:
    """Whether a command did not start since the container has no such program."""
    text = str(error)
    return "executable file not found" in text or "no such file or directory" in text


def tar_flags(preserve: bool) -> list[str]:
    """How tar unpacks: with modes, times, and for root numeric owners; or with what is usual in the container."""
    return ["-xpf"] if preserve else ["--no-same-permissions", "--no-same-owner", "-xmf"]


async def packed_name(container: Container, path: RemotePath) -> str:
    """What tar is told to pack: GNU's takes backslashes in such a name for escapes, others do not."""
    if "\\" not in path.base:
        return path.member
    try:
        done = await container.run(["tar", "--version"])
    except StartError:
        return path.member  # that there is no tar is said later
    return path.member.replace("\\", "\\\\") if b"GNU tar" in done.stdout else path.member


def shell_tar(arguments: Sequence[str], size: int | None, mark: str) -> list[str]:
    """tar, reading from stdin, with something that reads on when tar has given up.

    :param mark: in front of tar's exit code
    :param size: of the archive, where the server cannot end stdin
    """
    if size is None:
        return ["sh", "-c", f"mark=$1; shift; {_FEED}", "sh", mark, *arguments]
    return ["sh", "-c", f'mark=$1 size=$2; shift 2; head -c "$size" | {_FEED}', "sh", mark, str(size), *arguments]


def resumed_tar(arguments: Sequence[str], *, offset: int, anchor: int, position: int, mark: str) -> list[str]:
    """tar, without what is here already but for the header that shows that it is the same.

    :param offset: where in the archive that header starts
    :param anchor: its bytes
    :param position: bytes that are here
    :param mark: in front of tar's exit code
    """
    script = f"mark=$1 from=$2 anchor=$3 skip=$4; shift 4; {_RESUME}"
    skip = position - offset - anchor + 1
    return ["sh", "-c", script, "sh", mark, str(offset + 1), str(anchor), str(skip), *arguments]


def printable(text: str) -> str:
    """Somebody else's words, without what a terminal would obey."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


class Complaints:
    """What a command writes to stderr: its beginning, and the exit code that a script tells there.

    :ivar mark: what is in front of that code
    """

    def __init__(self) -> None:
        self.mark = f"kubex-stream-exit-{secrets.token_hex(8)}"
        self._marked = re.compile(rf"\n?{self.mark} (\d{{1,3}})\n".encode())
        self._kept = bytearray()
        self._tail = b""
        self.any = anyio.Event()
        #: tar's own exit code, once it is told.
        self.exit_code: int | None = None
        self.told = anyio.Event()

    def add(self, data: bytes) -> None:
        """Take some of it."""
        self._kept += data[: _KEPT - len(self._kept)]
        self._tail += data
        found = self._marked.search(self._tail)
        if found is not None and self.exit_code is None:
            self.exit_code = int(found[1])
            self.told.set()
        self._tail = self._tail[-64:]
        self.any.set()

    @property
    def text(self) -> str:
        """For people: its last lines, as one."""
        raw = self._marked.sub(b"\n", bytes(self._kept)).decode("utf-8", "replace")
        return "; ".join(printable(line.strip()) for line in raw.splitlines() if line.strip())[-500:]

    async def collect(self, stream: OutputStream) -> None:
        """Take all of it."""
        async for data in stream:
            self.add(data)


def refuses_protocol(error: ApiError) -> bool:
    """Whether a server has refused the handshake for what it offers, as old ones do v5."""
    return error.status is None and error.status_code in (400, 403)


async def together(*works: Callable[[], Awaitable[object]]) -> None:
    """Run things at the same time; the first that fails ends the others, and its error leaves as it is, not in a group."""
    failures: list[Exception] = []
    async with anyio.create_task_group() as tasks:

        async def guarded(work: Callable[[], Awaitable[object]]) -> None:
            try:
                await work()
            except Exception as error:  # noqa: BLE001  # raised again below
                failures.append(error)
                tasks.cancel_scope.cancel()

        for work in works:
            tasks.start_soon(guarded, work)
    if failures:
        raise failures[0]
