"""A Kubernetes of one process: an API server on loopback whose pods are real processes of this machine.

Rules of this file: everything public may be used from any thread and any event loop; what changes the server runs on the server's own
loop.  What was started, made or opened is gone when the ``with`` block is left.
"""

from __future__ import annotations

import secrets
import shutil
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import anyio.to_thread

from kubex_stream.testing.behaviour import Behaviour
from kubex_stream.testing.catalogue import default_declared
from kubex_stream.testing.controls import Controls
from kubex_stream.testing.http import RecordedRequest
from kubex_stream.testing.kubeconfig import write_kubeconfig
from kubex_stream.testing.loop_thread import LoopThread
from kubex_stream.testing.pods import EmbeddedPod, default_pod
from kubex_stream.testing.server import Server
from kubex_stream.testing.services import EmbeddedService, EmbeddedWorkload
from kubex_stream.testing.streams import ProcessInfo, SessionInfo
from kubex_stream.testing.tls import Certificates, ClientCertificate

if TYPE_CHECKING:
    from kubex_stream.configuration import ClientConfiguration

__all__ = ("EmbeddedCluster",)

_WARNING = (
    "kubex-stream: the embedded cluster at {url} runs commands on this machine, as this user, without isolation; "
    "it listens on loopback only and wants a token"
)


class EmbeddedCluster(Controls):
    """An embedded cluster, as a context manager: ``with`` anywhere, ``async with`` on any event loop.

    :param pods: its pods; by default one, ``demo``, with a container ``main`` in which nothing runs, ready for exec, HTTP on port 80 and
        an echo on port 7
    :param services: its Services; by default, with the default pod, one called ``demo``, with the same ports
    :param workloads: its Deployments, ReplicaSets and StatefulSets; by default, with the default pod, a Deployment ``demo``
    :param tls: HTTPS, with a certificate authority of its own; False is plain HTTP, over which kubectl sends no token
    :param token: the bearer token; None: a random one
    :param behaviour: versions, habits and faults to emulate
    :param quiet: whether to leave out the warning on stderr
    :param port: 0 for any free one
    :param host: ``127.0.0.1`` or ``::1``
    :param prefix: a path before ``/api``, as proxies in front of many clusters have it; ``/k8s/clusters/c-abc``, say
    """

    def __init__(
        self,
        pods: Sequence[EmbeddedPod] | None = None,
        *,
        services: Sequence[EmbeddedService] | None = None,
        workloads: Sequence[EmbeddedWorkload] | None = None,
        tls: bool = True,
        token: str | None = None,
        behaviour: Behaviour | None = None,
        quiet: bool = False,
        port: int = 0,
        host: str = "127.0.0.1",
        prefix: str = "",
    ) -> None:
        if host not in ("127.0.0.1", "::1"):
            raise ValueError(f"an embedded cluster listens on loopback only, 127.0.0.1 or ::1, not on {host!r}")
        if prefix and not prefix.startswith("/"):
            raise ValueError(f"prefix must begin with '/', not be {prefix!r}")
        self._pods = (default_pod(),) if pods is None else tuple(pods)
        default_services, default_workloads = default_declared() if pods is None else ((), ())
        self._services = default_services if services is None else tuple(services)
        self._workloads = default_workloads if workloads is None else tuple(workloads)
        self._tls = tls
        self._token = token or secrets.token_urlsafe(24)
        self._behaviour = behaviour or Behaviour()
        self._quiet = quiet
        self._host, self._port, self._prefix = host, port, prefix.rstrip("/")
        self._certificates = Certificates() if tls else None
        self._thread: LoopThread | None = None
        self._server: Server | None = None
        self._directory: Path | None = None
        self._change = threading.Condition()

    def __repr__(self) -> str:
        return f"<EmbeddedCluster {self.url if self._server else 'not started'}>"

    # -- life ------------------------------------------------------------------------------------------------

    def start(self) -> Self:
        """Start it; ``with`` does this.

        :raises RuntimeError: it runs already
        :raises OSError: the port is taken
        """
        if self._thread is not None:
            raise RuntimeError("this embedded cluster runs already")
        listener = socket.create_server(
            (self._host, self._port), family=socket.AF_INET6 if ":" in self._host else socket.AF_INET, backlog=1024
        )
        listener.setblocking(False)
        self._port = listener.getsockname()[1]
        self._listener = listener
        self._thread = LoopThread("kubex-stream-embedded-cluster")
        try:
            self._thread.run(self._open)
            self._directory = Path(tempfile.mkdtemp(prefix="kubex-stream-"))
            self._write_kubeconfig()
        except BaseException:
            self.stop()
            raise
        if not self._quiet:
            print(_WARNING.format(url=self.url), file=sys.stderr, flush=True)  # noqa: T201
        return self

    def _open(self) -> None:
        context = self._certificates.server_context() if self._certificates is not None else None
        self._server = Server(self._listener, context, self._behaviour, self._prefix, self._notify)
        self._server.tokens.add(self._token)
        for pod in self._pods:
            self._server.store.add(pod)
        for service in self._services:
            self._server.catalogue.add(service)
        for workload in self._workloads:
            self._server.catalogue.add(workload)

    def stop(self) -> None:
        """End it, with all its processes, connections and files; leaving ``with`` does this."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        if self._server is not None:
            thread.call(self._server.aclose())
            self._server = None
        thread.stop()
        self._listener.close()
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None
        self._notify()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        return await anyio.to_thread.run_sync(self.start)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self.stop)

    # -- reaching it -----------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """Its base URL, with the prefix."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{'https' if self._tls else 'http'}://{host}:{self._port}{self._prefix}"

    @property
    def token(self) -> str:
        """The bearer token."""
        return self._token

    @property
    def ca_pem(self) -> bytes:
        """The certificate of its authority; empty without TLS."""
        return self._certificates.ca_pem if self._certificates is not None else b""

    @property
    def configuration(self) -> ClientConfiguration:
        """What a client of this library needs to reach it."""
        from kubex_stream.configuration import ClientConfiguration

        return ClientConfiguration(
            url=self.url, token=self._token, server_ca_data=self.ca_pem or None, namespace="default"
        )

    @property
    def kubeconfig(self) -> Path:
        """A kubeconfig for kubectl and other clients; the file goes with the cluster."""
        if self._directory is None:
            raise RuntimeError("the embedded cluster is not running; use it as a context manager")
        return self._directory / "kubeconfig"

    def _write_kubeconfig(self) -> None:
        write_kubeconfig(self.kubeconfig, url=self.url, token=self._token, ca_pem=self.ca_pem)

    def client_certificate(self, name: str = "client") -> ClientCertificate:
        """A certificate that authenticates a client as well as the token does.

        :raises RuntimeError: without TLS there are none
        """
        if self._certificates is None:
            raise RuntimeError("an embedded cluster with tls=False knows no client certificates")
        return self._certificates.client_certificate(name)

    def rotate_token(self, token: str | None = None) -> str:
        """Make a new token the only valid one; ``token``, ``configuration`` and the kubeconfig have it from now on."""
        self._token = token or secrets.token_urlsafe(24)

        def replace(server: Server) -> None:
            server.tokens = {self._token}

        self._on_server(replace)
        self._write_kubeconfig()
        return self._token

    # -- changing it -----------------------------------------------------------------------------------------

    def _running(self) -> tuple[LoopThread, Server]:
        if self._thread is None or self._server is None:
            raise RuntimeError("the embedded cluster is not running; use it as a context manager")
        return self._thread, self._server

    def _on_server(self, function: Callable[[Server], object]) -> None:
        thread, server = self._running()
        thread.run(lambda: function(server))

    @property
    def behaviour(self) -> Behaviour:
        """What it does differently; may be set at any time, for requests from then on."""
        return self._behaviour

    @behaviour.setter
    def behaviour(self, behaviour: Behaviour) -> None:
        self._behaviour = behaviour
        if self._server is not None:
            self._on_server(lambda server: server.set_behaviour(behaviour))

    def add_pod(self, pod: EmbeddedPod) -> None:
        """Create a pod.

        :raises ValueError: there is one of this name
        """
        self._on_server(lambda server: server.store.add(pod))

    def delete_pod(self, name: str, namespace: str = "default") -> None:
        """Delete a pod and kill its processes.

        :raises LookupError: there is none
        """
        thread, server = self._running()
        thread.call(server.store.delete(server.store.find(name, namespace)))

    def add_service(self, service: EmbeddedService) -> None:
        """Create a Service.

        :raises ValueError: there is one of this name
        """
        self._on_server(lambda server: server.catalogue.add(service))

    def remove_service(self, name: str, namespace: str = "default") -> None:
        """Delete a Service.

        :raises LookupError: there is none
        """
        self._on_server(lambda server: server.catalogue.remove("Service", name, namespace))

    def add_workload(self, workload: EmbeddedWorkload) -> None:
        """Create a Deployment, a ReplicaSet or a StatefulSet.

        :raises ValueError: there is one of this kind and name
        """
        self._on_server(lambda server: server.catalogue.add(workload))

    def remove_workload(self, kind: str, name: str, namespace: str = "default") -> None:
        """Delete a Deployment, a ReplicaSet or a StatefulSet; its pods stay.

        :raises LookupError: there is none
        """
        self._on_server(lambda server: server.catalogue.remove(kind, name, namespace))

    # -- looking into it -------------------------------------------------------------------------------------

    @property
    def requests(self) -> tuple[RecordedRequest, ...]:
        """Every request so far, in order; of more than 10,000 the last ones."""
        return tuple(self._running()[1].requests)

    @property
    def open_sessions(self) -> tuple[SessionInfo, ...]:
        """The sessions that are open.  One whose client has left stays until its process has ended, or what it forwards has."""
        return tuple(self._running()[1].sessions)

    @property
    def connections(self) -> int:
        """How many TCP connections are open."""
        return self._running()[1].connections

    @property
    def forwarded_connections(self) -> int:
        """How many connections of port-forwards to ports of pods are open."""
        return self._running()[1].forwarded

    @property
    def lost_bytes(self) -> int:
        """How much output was thrown away because of ``Behaviour.v5_loss_after``."""
        return self._running()[1].lost_bytes

    def processes(self, pod: str = "demo", namespace: str = "default") -> tuple[ProcessInfo, ...]:
        """The running processes of a pod that the cluster has started; not their children.

        :raises LookupError: there is no such pod
        """
        found = self._running()[1].store.find(pod, namespace)
        alive = [process for process in tuple(found.processes) if process.exit_code is None]
        return tuple(ProcessInfo(process.pid, process.command) for process in alive)

    def directory(self, pod: str = "demo", container: str = "main", namespace: str = "default") -> Path:
        """Where the processes of a container start.

        :raises LookupError: there is no such container
        """
        found = self._running()[1].store.find(pod, namespace)
        if container not in found.containers:
            raise LookupError(f"no container {container!r} in pod {pod!r} of namespace {namespace!r}")
        return found.containers[container].directory

    def wait_for(self, condition: Callable[[], bool], timeout: float = 10.0) -> None:
        """Block until ``condition``, looked at after every change in the cluster, is true.

        On an event loop call it in a worker thread.  ``condition`` may only look, not change the cluster.

        :param timeout: seconds
        :raises TimeoutError: it stayed false
        """
        with self._change:
            if not self._change.wait_for(condition, timeout):
                raise TimeoutError("the embedded cluster did not come to the state that was waited for")

    def _notify(self) -> None:
        with self._change:
            self._change.notify_all()
