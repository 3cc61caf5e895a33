"""Where a run was made, as far as it matters for its figures; no names of hosts, users or folders."""

from __future__ import annotations

import os
import platform
import re
import ssl
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from benchmarks.clients import PROGRAMS
from benchmarks.processes import cpus
from kubex_stream.watch.documents import FAST

__all__ = ("environment",)

_PACKAGES: Final = (
    "kubex-stream", "aiohttp", "picows", "aiofastnet", "httpx", "httpcore", "httpx-ws", "wsproto", "anyio", "trio", "uvloop",
    "kubernetes", "kubernetes_asyncio", "kr8s", "lightkube", "websocket-client", "orjson",
)  # fmt: skip


def _cpu() -> str:
    try:
        found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.M)
    except OSError:
        found = None
    return found[1] if found else platform.processor() or platform.machine()


def _memory() -> str:
    try:
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError, AttributeError):
        return "unknown"
    return f"{size / 2**30:.0f} GiB"


def _installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _kubectl() -> str | None:
    command = [os.environ.get("KUBECTL", PROGRAMS["KUBECTL"]), "version", "--client"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.search(r"v\d+\.\d+\.\d+\S*", said)
    return found[0] if found else None


def environment() -> dict[str, str]:
    """What a report says of the machine and of what is installed."""
    facts = {
        "CPU": f"{_cpu()}, {len(cpus())} usable",
        "memory": _memory(),
        "system": f"{platform.system()} {platform.release()}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "OpenSSL": ssl.OPENSSL_VERSION,
        "libc": " ".join(platform.libc_ver()) if sys.platform == "linux" else "",
        **{package: _installed(package) or "" for package in _PACKAGES},
        "kubectl": _kubectl() or "",
        "JSON of watches": "orjson" if FAST else "the standard library's",
    }
    return {name: fact for name, fact in facts.items() if fact}
