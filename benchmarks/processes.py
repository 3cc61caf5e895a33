"""What the operating system says of a process, and where one runs."""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path

__all__ = ("cpu_of", "cpus", "highest_rss", "pin", "private_memory", "raise_limit", "rss")


def pin(cpu: int | None) -> None:
    """Run on one CPU only, where that can be had."""
    if cpu is not None and sys.platform == "linux" and cpu in os.sched_getaffinity(0):
        os.sched_setaffinity(0, {cpu})


def cpus() -> list[int]:
    """The CPUs that this process may use."""
    return sorted(os.sched_getaffinity(0)) if sys.platform == "linux" else list(range(os.cpu_count() or 1))


def raise_limit() -> None:
    """Let this process open as many files as the system lets it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def cpu_of(process: int) -> float | None:
    """Seconds of CPU time that a process has used, user and system; None where the system does not say.  Linux counts in ticks of 10 ms."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _status(name: str, file: str = "status") -> int:
    try:
        lines = Path(f"/proc/self/{file}").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def rss() -> int:
    """Bytes of memory that this process has resident; 0 where the system does not say."""
    return _status("VmRSS:")


def highest_rss() -> int:
    """The same at its highest."""
    return _status("VmHWM:")


def private_memory() -> int:
    """Bytes of memory that nobody else shares; 0 where the system does not say."""
    return _status("Private_", "smaps_rollup")
