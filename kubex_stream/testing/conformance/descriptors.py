"""The TCP sockets that this process has open, where ``/proc`` tells."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

__all__ = ("open_sockets",)


def open_sockets() -> set[str]:
    """Their inodes; nothing where there is no ``/proc``."""
    descriptors = Path("/proc/self/fd")
    if not descriptors.is_dir():
        return set()
    links = set()
    for descriptor in descriptors.iterdir():
        with suppress(OSError):
            links.add(os.readlink(descriptor))
    inodes = {link.removeprefix("socket:[").removesuffix("]") for link in links if link.startswith("socket:[")}
    return inodes & _tcp_inodes() if inodes else set()


def _tcp_inodes() -> set[str]:
    inodes = set()
    for table in (Path("/proc/self/net/tcp"), Path("/proc/self/net/tcp6")):
        if table.exists():
            inodes |= {line.split()[9] for line in table.read_text().splitlines()[1:]}
    return inodes
