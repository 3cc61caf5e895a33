"""Comparing digests of files in a container with those of the files here."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final
from urllib.parse import quote

from kubex_stream.errors import CopyError, StartError
from kubex_stream.transfer.container import Container, lacks_program, printable

__all__ = ("check_digests",)

#: Bytes of names in one command; they travel in a URL, of which servers take a mebibyte and httpx 64 KiB.
_BATCH: Final = 32768
#: What an argument is in a URL besides its value.
_ARGUMENT: Final = len("&command=")
_LINE: Final = re.compile(rb"^([0-9a-f]{64}) [ *]", re.MULTILINE)
_PLAIN: Final = re.compile(r"[^\x00-\x1f\\\x7f\ud800-\udfff]+")
#: For names with line breaks, and with bytes that are not UTF-8, which no argument can hold: they come as octal escapes.
_ODD: Final = 'for file do file=$(printf "%b." "$file"); sha256sum <"${file%.}" || exit; done'


async def check_digests(container: Container, directory: str, expected: Mapping[str, bytes]) -> int:
    """Have the container take the SHA-256 of files, and compare.

    :param expected: by name, below the directory
    :returns: how many were compared
    :raises CopyError: some differ, or there is no ``sha256sum``
    """
    wrong: list[str] = []
    for command, names in _commands(directory, list(expected)):
        try:
            done = await container.run(command)
        except StartError as error:
            if not lacks_program(error):
                raise
            raise CopyError(
                "checksums need sha256sum in the container, and there is none; the files were copied"
            ) from error
        digests = _LINE.findall(done.stdout)
        if done.exit_code or len(digests) != len(names):
            said = printable(done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2])
            raise CopyError(f"sha256sum in the container failed with exit code {done.exit_code}: {said}")
        wrong += [
            name
            for name, digest in zip(names, digests, strict=True)
            if bytes.fromhex(digest.decode()) != expected[name]
        ]
    if wrong:
        shown = ", ".join(ascii(name) for name in wrong[:5])
        raise CopyError(
            f"{len(wrong)} of the copied files differ from their originals: {shown}{' …' if wrong[5:] else ''}"
        )
    return len(expected)


def _commands(directory: str, names: list[str]) -> Iterator[tuple[list[str], list[str]]]:
    """Commands, and whose digests they give in this order."""
    plain = [name for name in names if _PLAIN.fullmatch(name)]
    for batch in _batches(directory, plain):
        yield ["sha256sum", *(posixpath.join(directory, name) for name in batch)], batch
    chosen = set(plain)
    for batch in _batches(directory, [name for name in names if name not in chosen]):
        yield ["sh", "-c", _ODD, "sh", *(_escaped(posixpath.join(directory, name)) for name in batch)], batch


def _batches(directory: str, names: Sequence[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    size = 0
    for name in names:
        length = _ARGUMENT + len(quote(posixpath.join(directory, name), safe="", errors="surrogateescape"))
        if batch and size + length > _BATCH:
            yield batch
            batch, size = [], 0
        batch.append(name)
        size += length
    if batch:
        yield batch


def _escaped(name: str) -> str:
    raw = name.encode("utf-8", "surrogateescape")
    return "".join(chr(byte) if 0x20 < byte < 0x7F and byte != 0x5C else f"\\0{byte:03o}" for byte in raw)
