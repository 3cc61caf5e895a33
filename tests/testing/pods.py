"""A pod with a port for each built-in service, on the same numbers in all tests."""

from __future__ import annotations

import asyncio
from typing import Final

from kubex_stream.testing import EmbeddedPod, EmbeddedPort
from kubex_stream.testing.ports import PortTarget

SOON: Final = 0.05  # instead of containerd's second
ECHO, HTTP, SHA256, SEND, SILENT, RESET, BANNER, HALF, OWN, MISSING = range(8080, 8090)


async def _upper(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write((await reader.readline()).upper())


def port_pod(name: str) -> EmbeddedPod:
    targets: tuple[PortTarget, ...] = ("echo", "http", "sha256", "send", "silent", "reset", "banner", "half", _upper)
    return EmbeddedPod(name, ports=[EmbeddedPort(number, target=target) for number, target in enumerate(targets, ECHO)])
