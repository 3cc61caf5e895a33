"""Archives as a container could send them, and what became of a directory."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from kubex_stream.transfer.archive import ArchiveReader
from kubex_stream.transfer.extracting import Extractor
from kubex_stream.transfer.tree import Handle, Tree, open_directory

Entry = tarfile.TarInfo | tuple[tarfile.TarInfo, bytes]


def entry(
    name: str, kind: bytes = tarfile.REGTYPE, *, link: str = "", mode: int = 0o644, mtime: int = 10**9
) -> tarfile.TarInfo:
    """A header."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode, info.mtime = kind, link, mode, mtime
    return info


def file(name: str, contents: bytes = b"contents", *, mode: int = 0o644) -> Entry:
    """A file."""
    info = entry(name, mode=mode)
    info.size = len(contents)
    return info, contents


def directory(name: str, *, mode: int = 0o755) -> Entry:
    """A directory."""
    return entry(name, tarfile.DIRTYPE, mode=mode)


def symlink(name: str, target: str) -> Entry:
    """A symbolic link."""
    return entry(name, tarfile.SYMTYPE, link=target, mode=0o777)


def hardlink(name: str, target: str) -> Entry:
    """Another name."""
    return entry(name, tarfile.LNKTYPE, link=target)


def archive(*entries: Entry, format: int = tarfile.GNU_FORMAT) -> bytes:
    """An archive that nobody has looked at."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format, errors="surrogateescape") as tar:
        for each in entries:
            info, contents = each if isinstance(each, tuple) else (each, b"")
            tar.addfile(info, io.BytesIO(contents))
    return buffer.getvalue()


def snapshot(top: Path) -> dict[bytes, tuple[int, bytes]]:
    """What is below a directory: modes, and contents or targets."""
    found = {}
    root = os.fsencode(top)
    for folder, directories, files in os.walk(root):
        for name in (*directories, *files):
            path = os.path.join(folder, name)
            mode = os.lstat(path).st_mode
            contents = b""
            if os.path.islink(path):
                contents = os.readlink(path)
            elif os.path.isfile(path):
                contents = Path(os.fsdecode(path)).read_bytes()
            found[path[len(root) + 1 :]] = (mode, contents)
    return found


@contextmanager
def extractor(
    target: Path,
    *,
    base: str = "src",
    top: str = "dst",
    preserve: bool = True,
    opened: Callable[[str], Handle] = open_directory,
) -> Iterator[Extractor]:
    """What writes into a directory."""
    tree = Tree(str(target), opened)
    made = Extractor(tree, base=base, top=top, preserve=preserve, digest=True)
    try:
        yield made
    finally:
        made.abandon()
        tree.close()


def extract(
    target: Path,
    data: bytes,
    *,
    base: str = "src",
    top: str = "dst",
    preserve: bool = True,
    opened: Callable[[str], Handle] = open_directory,
) -> Extractor:
    """Write an archive into a directory."""
    with extractor(target, base=base, top=top, preserve=preserve, opened=opened) as made:
        reader = ArchiveReader(made)
        reader.feed(data)
        reader.finish()
        made.finish()
        return made
