"""The pods of a running cluster: their state, their directories and main processes, and the log of changes that a watch reads."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import tempfile
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from kubex_stream.testing.attach_session import MainProcess
from kubex_stream.testing.forwarding import Forward
from kubex_stream.testing.objects import pod_object
from kubex_stream.testing.pods import EmbeddedContainer, EmbeddedPod
from kubex_stream.testing.port_servers import PortServer, handler_of
from kubex_stream.testing.processes import MARKER, Process, StartFailure, kill_marked, start_process

__all__ = ("ContainerState", "Event", "PodState", "PodStore")

_LOG_LENGTH: Final = 1000
_KILL_ROUNDS: Final = 100
_INHERITED: Final = ("LANG", "LC_ALL", "TMPDIR")


@dataclass(frozen=True, slots=True)
class Event:
    """A change: of type ADDED, MODIFIED or DELETED; ``version`` is the resource version that it made."""

    version: int
    type: str
    namespace: str
    object: dict[str, Any]


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


class PodStore:
    """All pods, by namespace and name.  Used on the cluster's event loop only.

    :param changed: called after every change
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        self.version = 1
        self.log: deque[Event] = deque(maxlen=_LOG_LENGTH)
        self.pods: dict[tuple[str, str], PodState] = {}
        self.namespaces: dict[str, datetime] = {}
        self._runtime = "containerd"
        self._changed = changed
        self._watchers: set[asyncio.Event] = set()
        self._directory = Path(tempfile.mkdtemp(prefix="kubex-stream-pods-"))
        for name in ("default", "kube-system"):
            self.namespaces[name] = datetime.now(UTC)

    @property
    def oldest(self) -> int:
        """The oldest resource version from which a watch can start."""
        return self.log[0].version - 1 if len(self.log) == _LOG_LENGTH else 0

    def watch(self) -> asyncio.Event:
        """An event that is set whenever something changes; give it back to ``unwatch``."""
        event = asyncio.Event()
        self._watchers.add(event)
        return event

    def unwatch(self, event: asyncio.Event) -> None:
        """No longer set ``event``."""
        self._watchers.discard(event)

    def _record(self, kind: str, pod: PodState) -> None:
        self.version += 1
        pod.version = self.version
        self.log.append(Event(self.version, kind, pod.declared.namespace, pod_object(pod)))
        for event in self._watchers:
            event.set()
        self._changed()

    def add(self, declared: EmbeddedPod) -> PodState:
        """Create a pod and start its main processes.

        :raises ValueError: there is one of this name
        """
        key = (declared.namespace, declared.name)
        if key in self.pods:
            raise ValueError(f"pod {declared.name!r} exists in namespace {declared.namespace!r}; delete it first")
        now = datetime.now(UTC)
        self.namespaces.setdefault(declared.namespace, now)
        pod = PodState(declared, str(uuid.uuid4()), declared.phase, now, runtime=self._runtime)
        for container in declared.containers:
            pod.containers[container.name] = self._container(pod, container)
        self.pods[key] = pod
        if pod.phase == "Running":
            for state in pod.containers.values():
                self._start(pod, state)
            for port in declared.ports:
                handler = handler_of(port, declared.name)
                if handler is not None:
                    pod.servers[port.number] = PortServer(handler)
            _settle(pod)
        self._record("ADDED", pod)
        return pod

    def find(self, name: str, namespace: str) -> PodState:
        """A pod.

        :raises LookupError: there is none of this name
        """
        found = self.pods.get((namespace, name))
        if found is None:
            raise LookupError(f"no pod {name!r} in namespace {namespace!r}")
        return found

    def claim(self, namespace: str) -> int:
        """The resource version of something that is no pod, new in ``namespace``."""
        self.namespaces.setdefault(namespace, datetime.now(UTC))
        self.version += 1
        self._changed()
        return self.version

    def set_runtime(self, name: str) -> None:
        """The container runtime that all pods run in, as their container ids show."""
        self._runtime = name
        for pod in self.pods.values():
            pod.runtime = name

    def _container(self, pod: PodState, container: EmbeddedContainer) -> ContainerState:
        directory = container.working_dir
        if directory is None:
            directory = self._directory / pod.uid / container.name
            directory.mkdir(parents=True)
        env = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        env |= {"PATH": os.environ.get("PATH", os.defpath), "HOSTNAME": pod.declared.name, "HOME": str(directory)}
        env |= {**container.env, MARKER: pod.uid}
        state = ContainerState(container, directory, env)
        if pod.phase in ("Succeeded", "Failed"):
            state.exit_code = 0 if pod.phase == "Succeeded" else 1
            state.finished_at = pod.created
        return state

    def _start(self, pod: PodState, state: ContainerState) -> None:
        container = state.declared
        if container.command is None:
            return
        try:
            process = start_process(
                container.command,
                directory=state.directory,
                env=state.env | ({"TERM": "xterm"} if container.tty else {}),
                tty=container.tty,
                stdin=container.stdin,
            )
        except StartFailure as error:
            state.exit_code, state.finished_at, state.failure = 128, datetime.now(UTC), str(error)
            return
        state.main = MainProcess(container, process)
        self.track(pod, process)
        task = asyncio.create_task(self._follow(pod, state, state.main))
        pod.tasks.add(task)
        task.add_done_callback(pod.tasks.discard)

    def track(self, pod: PodState, process: Process) -> None:
        """A process of ``pod``, to be killed with it."""
        pod.used = True
        pod.processes.add(process)
        process.on_end(self._changed)
        self._changed()

    async def _follow(self, pod: PodState, state: ContainerState, main: MainProcess) -> None:
        code = await main.wait()
        pod.processes.discard(main.process)
        state.exit_code, state.finished_at = code, datetime.now(UTC)
        _settle(pod)
        if pod.deleted is None:
            self._record("MODIFIED", pod)

    async def delete(self, pod: PodState) -> None:
        """Mark a pod, kill its processes, and remove it."""
        if pod.deleted is not None:
            return
        pod.deleted = datetime.now(UTC)
        self._record("MODIFIED", pod)
        await self._kill(pod)
        del self.pods[pod.declared.namespace, pod.declared.name]
        self._record("DELETED", pod)
        shutil.rmtree(self._directory / pod.uid, ignore_errors=True)

    async def _kill(self, pod: PodState) -> None:
        for forward in tuple(pod.forwards):
            forward.pod_ended()
        await asyncio.gather(*(server.aclose() for server in pod.servers.values()))
        if pod.used:
            await self._kill_processes(pod)

    async def _kill_processes(self, pod: PodState) -> None:
        processes = tuple(pod.processes)
        for process in processes:
            process.kill_group()
        for _ in range(_KILL_ROUNDS):  # they may be forking
            if not kill_marked({pod.uid}):
                break
            await asyncio.sleep(0.01)
        await asyncio.gather(*(process.wait() for process in processes))
        for state in pod.containers.values():
            if state.main is not None:
                await state.main.aclose()
        await asyncio.gather(*pod.tasks, return_exceptions=True)

    async def aclose(self) -> None:
        """Kill everything and remove the directories."""
        await asyncio.gather(*(self._kill(pod) for pod in self.pods.values()))
        shutil.rmtree(self._directory, ignore_errors=True)


def _settle(pod: PodState) -> None:
    """The phase of a pod whose containers have all ended."""
    if all(container.gone for container in pod.containers.values()):
        codes = [container.exit_code for container in pod.containers.values()]
        pod.phase = "Failed" if any(codes) else "Succeeded"
