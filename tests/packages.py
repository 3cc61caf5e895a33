"""The packages of the distribution, as files, and what is known of others."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
PACKAGES: Final = {
    "kubex_stream": ROOT / "kubex_stream",
    "kubex_stream_aiohttp": ROOT / "backends" / "kubex_stream_aiohttp",
    "kubex_stream_httpx": ROOT / "backends" / "kubex_stream_httpx",
    "kubex_stream_picows": ROOT / "backends" / "kubex_stream_picows",
}


def modules(package: str) -> Iterator[tuple[str, Path]]:
    """Dotted names and files."""
    folder = PACKAGES[package]
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder).with_suffix("").parts
        yield ".".join([package, *(part for part in parts if part != "__init__")]), path


def release(distribution: str) -> tuple[int, ...]:
    """Its version, as far as that is numbers; empty where it is not installed."""
    try:
        parts = metadata.version(distribution).split(".")
    except metadata.PackageNotFoundError:
        return ()
    return tuple(int(part) for part in parts if part.isdecimal())
