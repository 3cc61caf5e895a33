"""The installed command, run as a user runs it."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, Final

import pytest

from kubex_stream.cli import main
from kubex_stream.testing import (
    Behaviour,
    EmbeddedCluster,
    EmbeddedContainer,
    EmbeddedPod,
    EmbeddedPort,
    EmbeddedService,
    EmbeddedServicePort,
    EmbeddedWorkload,
)
from tests.cli.forked import Forked, ReadyMade, ready_made
from tests.conftest import kill_processes

#: The script that an installation puts beside the interpreter.
COMMAND: Final = Path(sysconfig.get_path("scripts"), "kubex-stream.exe" if sys.platform == "win32" else "kubex-stream")

PODS: Final = (
    EmbeddedPod("demo"),
    EmbeddedPod("two", containers=(EmbeddedContainer("first"), EmbeddedContainer("second"))),
    EmbeddedPod(
        "annotated",
        containers=(EmbeddedContainer("first"), EmbeddedContainer("second")),
        annotations={"kubectl.kubernetes.io/default-container": "second"},
    ),
    EmbeddedPod("done", phase="Succeeded"),
    EmbeddedPod("elsewhere", namespace="other"),
)

#: The ports of a pod that serves.
WEB: Final = (EmbeddedPort(80, target="http", name="http"), EmbeddedPort(7, target="echo", name="echo"))

#: For a server's address.
KUBECONFIG: Final = """
clusters: [{{name: x, cluster: {{server: '{}'}}}}]
contexts: [{{name: x, context: {{cluster: x, user: x}}}}]
users: [{{name: x, user: {{token: hidden-token}}}}]
current-context: x
"""

Done = subprocess.CompletedProcess[bytes]
Run = Callable[..., Done]
Process = subprocess.Popen[bytes] | Forked
Start = Callable[..., AbstractContextManager[Process]]


def environment(kubeconfig: Path | None, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment, with a kubeconfig or none at all."""
    kept = {name: value for name, value in os.environ.items() if name not in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST")}
    return {**kept, "KUBECONFIG": str(kubeconfig) if kubeconfig else os.devnull, **(extra or {})}


@pytest.fixture(scope="module")
def shared_pods() -> Iterator[EmbeddedCluster]:
    """The cluster behind ``pods``."""
    with EmbeddedCluster(PODS, quiet=True) as cluster:
        yield cluster


@pytest.fixture
def pods(shared_pods: EmbeddedCluster) -> Iterator[EmbeddedCluster]:
    """A cluster with several pods, behaving well; processes that a test leaves in it are killed."""
    yield shared_pods
    kill_processes(shared_pods, "demo", "two", "annotated")


@pytest.fixture
def cluster() -> Iterator[EmbeddedCluster]:
    """A cluster of one's own: a pod that serves, a Service and a Deployment of it, and pods that cannot serve."""
    pods = (
        EmbeddedPod("web-0", labels={"app": "web"}, ports=WEB),
        EmbeddedPod("done", phase="Succeeded"),
        EmbeddedPod("pending", phase="Pending"),
    )
    services = (
        EmbeddedService("web", selector={"app": "web"}, ports=[EmbeddedServicePort(8080, "http", "public")]),
        EmbeddedService("nobody", selector={"app": "nobody"}, ports=[EmbeddedServicePort(80)]),
    )
    workloads = (EmbeddedWorkload("Deployment", "web", selector={"app": "web"}),)
    with EmbeddedCluster(pods, services=services, workloads=workloads, quiet=True) as cluster:
        yield cluster


@pytest.fixture
def misbehaving() -> Callable[[Behaviour], AbstractContextManager[EmbeddedCluster]]:
    """Clusters of one's own."""
    return lambda behaviour: EmbeddedCluster(PODS, quiet=True, behaviour=behaviour)


@pytest.fixture
def run(pods: EmbeddedCluster) -> Run:
    """Run the command to its end: ``run("exec", …, input=b"…")``."""

    def call(
        *arguments: str,
        input: bytes | None = None,
        stdin: int | IO[bytes] = subprocess.DEVNULL,
        cluster: EmbeddedCluster | None = pods,
        env: Mapping[str, str] | None = None,
    ) -> Done:
        given: dict[str, object] = {"stdin": stdin} if input is None else {"input": input}
        kubeconfig = cluster.kubeconfig if cluster is not None else None
        return subprocess.run(  # type: ignore[call-overload,no-any-return]
            [COMMAND, *arguments],
            capture_output=True,
            timeout=60,
            check=False,
            env=environment(kubeconfig, env),
            **given,
        )

    return call


@pytest.fixture
def parse(capfd: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """As ``run``, but inside of this process, which is quick: for what needs neither stdin nor signals."""

    def call(*arguments: str) -> Done:
        code = main(arguments)
        said = capfd.readouterr()
        return subprocess.CompletedProcess(arguments, code, said.out.encode(), said.err.encode())

    return call


@pytest.fixture
def at(parse: Run, monkeypatch: pytest.MonkeyPatch) -> Callable[[EmbeddedCluster], Run]:
    """``at(cluster)("exec", …)``: as ``parse``, and the kubeconfig is that cluster's."""

    def choose(cluster: EmbeddedCluster) -> Run:
        monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig))
        monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
        return parse

    return choose


@pytest.fixture
def here(pods: EmbeddedCluster, at: Callable[[EmbeddedCluster], Run]) -> Run:
    """As ``run`` without stdin, but inside of this process."""
    return lambda *arguments, cluster=pods: at(cluster)(*arguments)


@pytest.fixture(scope="session")
def ready() -> Iterator[ReadyMade]:
    """What ``start`` forks from."""
    with ready_made() as ready:
        yield ready


@pytest.fixture
def start(pods: EmbeddedCluster, ready: ReadyMade) -> Start:
    """Start the command, in a fork of a process that has imported it; leaving the block kills it if it still runs."""

    @contextmanager
    def call(
        *arguments: str, cluster: EmbeddedCluster | None = pods, stdin: int = subprocess.PIPE
    ) -> Iterator[Process]:
        env = environment(cluster.kubeconfig if cluster is not None else None)
        with ready.start(arguments, env, stdin) as process:
            try:
                yield process
            finally:
                process.kill()

    return call


@pytest.fixture
def start_script(pods: EmbeddedCluster) -> Start:
    """As ``start``, but the installed script and an interpreter of its own."""

    @contextmanager
    def call(
        *arguments: str,
        cluster: EmbeddedCluster | None = pods,
        prefix: tuple[str, ...] = (),
        stdin: int = subprocess.PIPE,
    ) -> Iterator[Process]:
        with subprocess.Popen(
            [*prefix, COMMAND, *arguments],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(cluster.kubeconfig if cluster is not None else None),
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    return call
