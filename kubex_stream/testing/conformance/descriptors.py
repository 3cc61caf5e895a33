"""The TCP sockets that this process has open, where ``/proc`` tells."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from pathlib import Path

__all__ = ("open_sockets",)


def open_sockets() -> set[str]:
    """Their inodes; nothing where there is no ``/proc``."""
    descriptors = Path("/proc/self/fd")
    if not descriptors.is_dir():
        return set()
    links = {}
    for descriptor in descriptors.iterdir():
        with suppress(OSError):
            links[int(descriptor.name)] = os.readlink(descriptor)
    return {
        link.removeprefix("socket:[").removesuffix("]")
        for descriptor, link in links.items()
        if link.startswith("socket:[") and _is_tcp(descriptor)
    }


def _is_tcp(descriptor: int) -> bool:
    """Asked of the socket: the kernel's table of all connections is long on a busy machine."""
    try:
        copy = os.dup(descriptor)
    except OSError:
        return False
    try:
        sock = socket.socket(fileno=copy)
    except OSError:
        os.close(copy)
        return False
    with sock:
        return sock.family in (socket.AF_INET, socket.AF_INET6) and sock.type == socket.SOCK_STREAM
