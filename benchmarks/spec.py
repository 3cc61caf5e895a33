"""What one measurement is, and what it gives: both travel between processes as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Final

from benchmarks.clients.base import Place

__all__ = ("METRICS", "Job", "Result")

GIB: Final = 2**30


@dataclass(frozen=True, slots=True)
class Job:
    """One measurement, in a process of its own.

    :ivar client: module and class
    :ivar scenario: a name of ``benchmarks.worker.SCENARIOS``
    :ivar command: what the pod runs
    :ivar warm: the same, smaller, done first and not measured
    :ivar total: bytes, for what moves them
    :ivar count: repetitions, sessions or connections, for what has them
    :ivar cpu: the CPU to run on, None for any
    """

    client: str
    scenario: str
    loop: str
    place: Place
    command: tuple[str, ...] = ()
    warm: tuple[str, ...] = ()
    total: int = 0
    warm_total: int = 0
    count: int = 1
    cpu: int | None = None

    def to_json(self) -> str:
        """For the process that measures."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Job:
        """As :meth:`to_json` wrote it."""
        given = json.loads(text)
        given["place"] = Place(**given["place"])
        return cls(**{**given, "command": tuple(given["command"]), "warm": tuple(given["warm"])})


@dataclass(slots=True)
class Result:
    """What was measured.

    :ivar wall: seconds
    :ivar cpu: seconds, user and system, of the process that does the work
    :ivar moved: bytes
    :ivar count: how often it was done
    :ivar latencies: seconds at 50, 90 and 99 percent of all times
    :ivar memory: bytes of private memory that came to it while ``count`` sessions were open
    :ivar rss: bytes of resident memory at the end
    :ivar growth: bytes by which resident memory grew at its highest
    :ivar faults: minor page faults
    :ivar collections: collections of garbage
    :ivar server_cpu: CPU seconds of the load server meanwhile
    """

    wall: float
    cpu: float
    moved: int = 0
    count: int = 1
    latencies: dict[str, float] = field(default_factory=dict)
    memory: int = 0
    rss: int = 0
    growth: int = 0
    faults: int = 0
    collections: int = 0
    server_cpu: float = 0.0

    def metric(self, name: str) -> float:
        """One of :data:`METRICS`."""
        return float(METRICS[name](self))

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> Result:
        """As :meth:`to_json` wrote it."""
        return cls(**{one.name: given[one.name] for one in fields(cls) if one.name in given})


METRICS: Final = {
    "cpu_per_gib": lambda result: result.cpu * GIB / result.moved,
    "throughput": lambda result: result.moved / result.wall / 1e6,
    "wall": lambda result: result.wall,
    "p50": lambda result: result.latencies["50"] * 1e6,
    "p99": lambda result: result.latencies["99"] * 1e6,
    "rate": lambda result: result.count / result.wall,
    "cpu_per_session": lambda result: result.cpu / result.count * 1e3,
    "memory_per_session": lambda result: result.memory / result.count / 1024,
    "rss": lambda result: result.rss / 2**20,
    "growth": lambda result: result.growth / result.moved,
    "grown": lambda result: result.growth / 2**20,
    "cpu_per_item": lambda result: result.cpu / result.count * 1e6,
    "cpu_per_frame": lambda result: result.cpu / result.count * 1e9,
}
