"""Ports of this machine for tests that need to know one before anybody listens on it."""

from __future__ import annotations

import random
import socket
from contextlib import suppress

__all__ = ("free_port",)


def free_port() -> int:
    """One that nobody uses, on IPv4 and IPv6 alike, and that the kernel gives to nobody by itself."""
    while True:
        with socket.socket() as bound, suppress(OSError):
            bound.bind(("", random.randrange(20_000, 32_000)))
            port: int = bound.getsockname()[1]
            if socket.has_ipv6:
                with socket.socket(socket.AF_INET6) as six:
                    six.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                    six.bind(("", port))
            return port
