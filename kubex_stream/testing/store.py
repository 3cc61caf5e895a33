"""The pods of a running cluster: their state, their directories and main processes, and the log of changes that a watch reads."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from kubex_stream.testing.attach_session import MainProcess
from kubex_stream.testing.documents import Documents
from kubex_stream.testing.history import History
from kubex_stream.testing.objects import pod_object, terminated
from kubex_stream.testing.pod_state import ContainerState, PodState
from kubex_stream.testing.pods import EmbeddedContainer, EmbeddedPod
from kubex_stream.testing.port_servers import PortServer, handler_of
from kubex_stream.testing.processes import MARKER, Process, StartFailure, kill_marked, start_process

__all__ = ("ContainerState", "PodState", "PodStore")

_KILL_ROUNDS: Final = 100
_INHERITED: Final = ("LANG", "LC_ALL", "TMPDIR")


class PodStore:
    """All pods, by namespace and name.  Used on the cluster's event loop only.

    :param changed: called after every change
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        self.history = History(changed)
        self.documents = Documents(self.history)
        self.pods: dict[tuple[str, str], PodState] = {}
        self._runtime = "containerd"
        self._changed = changed
        self._directory = Path(tempfile.mkdtemp(prefix="kubex-stream-pods-"))

    @property
    def version(self) -> int:
        """The latest resource version."""
        return self.history.version

    def items(self) -> list[dict[str, Any]]:
        """The pods as the API shows them, by namespace and name."""
        return [pod_object(pod) for _, pod in sorted(self.pods.items())]

    def watch(self) -> asyncio.Event:
        """An event that is set whenever something changes; give it back to ``unwatch``."""
        return self.history.watch()

    def unwatch(self, event: asyncio.Event) -> None:
        """No longer set ``event``."""
        self.history.unwatch(event)

    def _record(self, kind: str, pod: PodState) -> None:
        def make(version: int) -> dict[str, Any]:
            pod.version = version
            return pod_object(pod)

        self.history.record(kind, "pods", make)

    def add(self, declared: EmbeddedPod) -> PodState:
        """Create a pod and start its main processes.

        :raises ValueError: there is one of this name
        """
        key = (declared.namespace, declared.name)
        if key in self.pods:
            raise ValueError(f"pod {declared.name!r} exists in namespace {declared.namespace!r}; delete it first")
        now = datetime.now(UTC)
        self.documents.ensure_namespace(declared.namespace)
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
        self.documents.ensure_namespace(namespace)
        return self.history.claim()

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
        state.log.write(1, container.log)
        if pod.phase in ("Succeeded", "Failed"):
            state.exit_code = 0 if pod.phase == "Succeeded" else 1
            state.finished_at = pod.created
            state.log.finish()
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
            state.log.finish()
            return
        state.main = MainProcess(container, process, state.log.write)
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
        state.log.finish()
        _settle(pod)
        if pod.deleted is None:
            self._record("MODIFIED", pod)
        if not _restarts(pod, state) or pod.ending.is_set():
            return
        if state.restarts and not state.killed:
            state.backing_off = True
            self._record("MODIFIED", pod)
            with suppress(TimeoutError):
                async with asyncio.timeout(pod.declared.restart_delay):
                    await pod.ending.wait()
        if not pod.ending.is_set():
            self._begin_again(pod, state)

    async def restart(self, pod: PodState, name: str) -> None:
        """Kill a container's main process, where there is one, and begin it anew.

        :raises LookupError: there is no such container
        :raises ValueError: its pod restarts nothing
        """
        state = self.container(pod.declared.name, name, pod.declared.namespace)
        if pod.declared.restart_policy == "Never":
            raise ValueError(f"pod {pod.declared.name!r} has restart_policy='Never'; give it 'Always'")
        if state.main is None or state.gone:
            state.exit_code, state.finished_at = state.exit_code or 0, datetime.now(UTC)
            self._begin_again(pod, state)
            return
        before, state.killed = state.restarts, True
        state.main.process.kill_group()
        changes = self.watch()
        try:
            while state.restarts == before:
                changes.clear()
                await changes.wait()
        finally:
            self.unwatch(changes)

    def _begin_again(self, pod: PodState, state: ContainerState) -> None:
        state.last_state = terminated(pod, state)
        state.restarts += 1
        state.exit_code = state.finished_at = state.main = None
        state.failure, state.backing_off, state.killed = "", False, False
        state.started_at = datetime.now(UTC)
        state.log.restart()
        self._start(pod, state)
        self._record("MODIFIED", pod)

    def container(self, pod: str, name: str, namespace: str) -> ContainerState:
        """A container.

        :raises LookupError: there is none of this name
        """
        found = self.find(pod, namespace).containers.get(name)
        if found is None:
            raise LookupError(f"no container {name!r} in pod {pod!r} of namespace {namespace!r}")
        return found

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
        pod.ending.set()
        for forward in tuple(pod.forwards):
            forward.pod_ended()
        await asyncio.gather(*(server.aclose() for server in pod.servers.values()))
        if pod.used:
            await self._kill_processes(pod)
        for state in pod.containers.values():
            state.log.finish()

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


def _restarts(pod: PodState, state: ContainerState) -> bool:
    """Whether a container that has ended begins again."""
    policy = pod.declared.restart_policy
    return state.killed or policy == "Always" or (policy == "OnFailure" and bool(state.exit_code))


def _settle(pod: PodState) -> None:
    """The phase of a pod whose containers have all ended for good."""
    if all(container.gone and not _restarts(pod, container) for container in pod.containers.values()):
        codes = [container.exit_code for container in pod.containers.values()]
        pod.phase = "Failed" if any(codes) else "Succeeded"
