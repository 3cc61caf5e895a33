"""Trees to copy, and pods to copy them to."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

import pytest

#: What has come wrong out of many a shell script, and out of many an archive.
ODD_NAMES: Final = (
    b"two words", b"new\nline", b"-dash", b"--checkpoint=1", b"\xff\xfe not utf-8", "\u00fcn\u00ef".encode(), b"$(touch pwned)'\"`;|&",
    b"back\\slash", b"*?[x]", b"n" * 99, b"n" * 100, b"n" * 200, b"~", b"\t", b"{}", b"%s%n", b"...",
)  # fmt: skip

Listing = dict[bytes, tuple[str, int, bytes]]


def make_tree(top: Path) -> Path:
    """Files, directories, links, modes, times and names of all kinds."""
    top.mkdir()
    for name in ("empty", "sub", "read-only"):
        (top / name).mkdir()
    (top / "file").write_bytes(bytes(range(256)) * 500)
    (top / "no contents").touch()
    (top / "sub" / "run").write_bytes(b"#!/bin/sh\n")
    (top / "read-only" / "x").write_bytes(b"x")
    for odd in ODD_NAMES:
        Path(os.fsdecode(os.fsencode(top) + b"/" + odd)).write_bytes(odd)
    deep = top.joinpath(*("d" * 60 for _ in range(5)))
    deep.mkdir(parents=True)
    (deep / "x").write_bytes(b"deep")
    os.symlink("file", top / "link")
    os.symlink("../file", top / "sub" / "up")
    os.link(top / "file", top / "same file")
    os.utime(top / "file", (10**9, 10**9))
    os.chmod(top / "sub" / "run", 0o751)
    os.chmod(top / "no contents", 0o600)
    os.chmod(top / "read-only", 0o555)
    os.utime(top / "empty", (1.1e9, 1.1e9))
    return top


def listing(top: Path, *, times: bool = True) -> Listing:
    """Everything below: mode, whole seconds, contents or target."""
    found: Listing = {}
    root = os.fsencode(top)
    for folder, directories, files in os.walk(root):
        for name in (*directories, *files):
            path = os.path.join(folder, name)
            status = os.lstat(path)
            contents = b""
            if os.path.islink(path):
                contents = os.readlink(path)
            elif os.path.isfile(path):
                contents = Path(os.fsdecode(path)).read_bytes()
            found[path[len(root) + 1 :]] = (oct(status.st_mode), int(status.st_mtime) if times else 0, contents)
    return found


def path_with(folder: Path, *programs: str, busybox: bool = False) -> dict[str, str]:
    """An environment in which only these programs are found."""
    folder.mkdir()
    for program in programs:
        found = shutil.which("busybox" if busybox else program)
        if found is None:
            pytest.skip(f"no {'busybox' if busybox else program} on this machine")
        (folder / program).symlink_to(found)
    return {"PATH": str(folder)}
