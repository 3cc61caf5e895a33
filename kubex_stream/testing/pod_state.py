"""A pod and its containers at run time."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kubex_stream.testing.attach_session import MainProcess
from kubex_stream.testing.forwarding import Forward
from kubex_stream.testing.logs import ContainerLog
from kubex_stream.testing.pods import EmbeddedContainer, EmbeddedPod
from kubex_stream.testing.port_servers import PortServer
from kubex_stream.testing.processes import Process

__all__ = ("ContainerState", "PodState")


@dataclass
class ContainerState:
    """A container at run time."""

    declared: EmbeddedContainer
    directory: Path
    env: dict[str, str]
    main: MainProcess | None = None
    failure: str = ""
    exit_code: int | None = None
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    finished_at: datetime | None = None
    restarts: int = 0
    last_state: dict[str, Any] = field(default_factory=dict)
    backing_off: bool = False
    killed: bool = False
    log: ContainerLog = field(init=False)

    def __post_init__(self) -> None:
        self.log = ContainerLog(self.declared.log_max_size)

    @property
    def gone(self) -> bool:
        """Whether its main process has been there and has ended."""
        return self.exit_code is not None


@dataclass
class PodState:
    """A pod at run time."""

    declared: EmbeddedPod
    uid: str
    phase: str
    created: datetime
    version: int = 0
    deleted: datetime | None = None
    containers: dict[str, ContainerState] = field(default_factory=dict)
    processes: set[Process] = field(default_factory=set)
    used: bool = False
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    runtime: str = "containerd"
    servers: dict[int, PortServer] = field(default_factory=dict)
    forwards: set[Forward] = field(default_factory=set)
    ending: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def sandbox(self) -> str:
        """The id by which the container runtime knows it."""
        return hashlib.sha256(self.uid.encode()).hexdigest()

    @property
    def network(self) -> str:
        """The path of its network namespace."""
        return f"/var/run/netns/cni-{uuid.uuid5(uuid.NAMESPACE_OID, self.uid)}"

    def addresses(self, number: int) -> tuple[tuple[str, int], ...]:
        """Where a TCP port of it is served; nowhere for one that nobody listens on."""
        port = next((port for port in self.declared.ports if (port.number, port.protocol) == (number, "TCP")), None)
        if port is None or port.target is None or self.phase != "Running":
            return ()
        if isinstance(port.target, tuple):
            return (port.target,)
        if isinstance(port.target, int):
            return ("127.0.0.1", port.target), ("::1", port.target)
        return (self.servers[number].address,)
