"""Single files to and from containers that have no tar.

Modes and times are not kept; the bytes are counted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from typing import BinaryIO, Final

import anyio

from kubex_stream.errors import ApiError, CopyError, HalfCloseUnsupported, StartError, StdinBroken
from kubex_stream.transfer.archive import Member
from kubex_stream.transfer.container import (
    NO_TAR,
    V4,
    V5,
    Complaints,
    Container,
    Facts,
    printable,
    refuses_protocol,
    together,
)
from kubex_stream.transfer.downloading import Sink, open_output, read_all
from kubex_stream.transfer.names import RemotePath

__all__ = ("download_file", "upload_file")

_PIECE: Final = 512 * 1024
#: Bytes; it is a number.
_MOST_OUTPUT: Final = 4096


async def download_file(container: Container, path: RemotePath, sink: Sink, on_data: Callable[[Sink], object]) -> None:
    """What ``cat`` gives.

    :raises CopyError: there is no ``cat`` either, or it failed, as for a directory
    """
    if not path.base:
        raise CopyError(f"{NO_TAR}, and without it only single files can be copied")
    complaints = Complaints()
    sink.begin(Member(path.base, "file", 0, 0o644, time.time_ns()))

    async def take(piece: bytes) -> None:
        await anyio.to_thread.run_sync(sink.data, memoryview(piece))
        on_data(sink)

    try:
        async with open_output(container, ["cat", path.path]) as process:
            await together(lambda: read_all(process.stdout, take), lambda: complaints.collect(process.stderr))
            code = await process.wait()
    except StartError as error:
        raise CopyError(f"{NO_TAR} and no cat, so nothing can be copied from it") from error
    if code:
        raise CopyError(
            f"{NO_TAR}, so only single files can be copied, and cat ended with exit code {code}: {complaints.text}"
        )
    await anyio.to_thread.run_sync(sink.end)


def _command(facts: Facts, path: str, size: int) -> tuple[list[str], list[str]]:
    """A command that takes a file, and the subprotocols that do for it: where nothing counts, stdin has to end."""
    if facts.shell and not facts.lacks("head"):
        return ["sh", "-c", 'head -c "$2" >"$1" && wc -c <"$1"', "sh", path, str(size)], [V5, V4]
    if facts.shell:
        return ["sh", "-c", 'cat >"$1" && wc -c <"$1"', "sh", path], [V5]
    return ["dd", f"of={path}", "bs=65536"], [V5]


def _pieces(file: BinaryIO, size: int) -> Generator[bytes, None, None]:
    """What was there when it was measured, and no more: what counts it would leave the rest unread."""
    left = size
    while left:
        piece = file.read(min(_PIECE, left))
        if not piece:
            raise CopyError("the file became shorter while it was read")
        left -= len(piece)
        yield piece


async def upload_file(
    container: Container, path: str, file: BinaryIO, size: int, facts: Facts, on_data: Callable[[int], object]
) -> None:
    """Give one file to ``head``, ``cat`` or ``dd``, and count what has arrived.

    :param size: what the file holds
    :raises CopyError: there is nothing to take it, or it failed
    :raises HalfCloseUnsupported: the server cannot end stdin, and nothing there can count
    """
    command, protocols = _command(facts, path, size)
    try:
        out, err = await _write(container, command, protocols, _pieces(file, size), on_data)
    except StartError as error:
        raise CopyError(f"{NO_TAR}, and neither sh nor dd, so nothing can be copied into it") from error
    except ApiError as error:
        if V4 in protocols or not refuses_protocol(error):
            raise
        raise HalfCloseUnsupported(
            f"{NO_TAR}, and no sh or no head to count a file; the server does not speak {V5} (Kubernetes 1.30), so its end cannot be told either"
        ) from error
    if not facts.shell:
        out = (await container.run(["wc", "-c", path])).stdout
    digits = out.split()[:1]
    if digits != [str(size).encode()]:
        raise CopyError(
            f"{NO_TAR}, and without it only {printable(out.decode('ascii', 'replace').strip())[:100] or 'some'} of {size} bytes arrived: "
            f"{err}"
        )


async def _write(
    container: Container,
    command: list[str],
    protocols: list[str],
    pieces: Generator[bytes, None, None],
    on_data: Callable[[int], object],
) -> tuple[bytes, str]:
    output, complaints = bytearray(), Complaints()

    async def keep(piece: bytes) -> None:
        output.extend(piece[: _MOST_OUTPUT - len(output)])

    async with container.stream(command, stdin=True, stdout=True, protocols=protocols, kill=False) as process:

        async def send() -> None:
            sent = 0
            try:
                while (piece := await anyio.to_thread.run_sync(next, pieces, None)) is not None:
                    await process.stdin.send(piece)
                    sent += len(piece)
                    on_data(sent)
                if process.can_half_close:
                    await process.stdin.aclose()
            except StdinBroken:
                return  # how it ended is told below

        await together(send, lambda: read_all(process.stdout, keep), lambda: complaints.collect(process.stderr))
        await process.wait()
    return bytes(output), complaints.text
